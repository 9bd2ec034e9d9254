"""Stand in for replicas, and for the kubelets of two nodes: `python -m tools.hostile.replicas`.

Each replica is an address of the loopback interface, and listens on vLLM's port. Orders come as JSON lines on standard
input (`Replicas.obey`), each is answered by one line. The program ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.bench.stand_in_replicas import LENGTH, pace
from tools.hostile.answers import ANSWERS
from tools.hostile.numbers import percentile
from tools.hostile.texts import LOGS

PORT = 8000
"""Port of vLLM, where the operator probes a pod."""
HEAD_BYTES = 64 * 1024
LAG_SECONDS = 0.05
"""Between two looks at the clock of this process."""
LOG_PATH = re.compile(r"/containerLogs/[^/]+/(?P<pod>[^/?]+)/")


class Replicas:
    """The state that all connections share.

    Attributes:
        answers: address -> name of the class of its answers.
        asked: class of answers -> number of requests.
        sent: class of answers -> bytes sent.
        probes: address and time of each request for the models, which each probe sends once.
        logs: number of logs that the API server read.
        lags: seconds by which this process itself was late, which shows the load of the machine.
    """

    def __init__(self) -> None:
        self.answers: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.probes: list[tuple[str, float]] = []
        self.logs = 0
        self.lags: list[float] = []
        self._servers: list[asyncio.Server] = []

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order and return its answer.

        Either `{"listen": {"127.0.0.2": "c1"}}`, which also changes the answers of an address that listens already,
        `{"kubelets": ["cert.pem", "key.pem"]}`, which returns the ports of one that answers and of one that does not,
        or `{"report": 1.0}` with the interval of the probes in seconds.
        """
        if "listen" in order:
            for address, name in order["listen"].items():
                if address not in self.answers:
                    await self._listen(address, PORT)
                self.answers[address] = name
            return {}
        if "kubelets" in order:
            return {"ports": await self._kubelets(*order["kubelets"])}
        return self._report(order["report"])

    async def watch_own_clock(self) -> None:
        """Measure without end how late a timer of this process is."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(LAG_SECONDS)
            self.lags.append(time.monotonic() - begun - LAG_SECONDS)

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()

    async def _listen(self, address: str, port: int) -> None:
        self._servers.append(await asyncio.start_server(self._replica, address, port, limit=HEAD_BYTES))

    async def _kubelets(self, certificate: str, key: str) -> list[int]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        alive = await asyncio.start_server(self._kubelet, "127.0.0.1", 0, ssl=context)
        dead = await asyncio.start_server(self._never, "127.0.0.1", 0)
        self._servers += [alive, dead]
        return [server.sockets[0].getsockname()[1] for server in (alive, dead)]

    def _report(self, interval: float) -> dict[str, Any]:
        """Return the counts since the last report, and the pace of the replicas that behaved throughout."""
        misbehaved = {address for address, name in self.answers.items() if name != "well"}
        addresses = sorted({address for address, _ in self.probes} - misbehaved)
        known = {address: index for index, address in enumerate(addresses)}
        probes = [(known[address], at) for address, at in self.probes if address in known]
        report = {
            "asked": dict(self.asked),
            "sent_mib": {name: round(size / 2**20, 1) for name, size in self.sent.items()},
            "logs": self.logs,
            "own_late_ms_p99": round(1000 * (percentile(self.lags, 0.99) or 0.0), 1),
            "probes": len(probes),
            **pace(probes, interval),
        }
        self.asked, self.sent, self.probes, self.logs, self.lags = Counter(), Counter(), [], 0, []
        return report

    async def _replica(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection until either side closes it."""
        address, number = writer.get_extra_info("sockname")[0], 0
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                path = await _request(reader)
                number += 1
                if path == "/v1/models":
                    self.probes.append((address, time.monotonic()))
                if not await self._answer(reader, writer, self.answers[address], path, self.asked.total()):
                    break
        writer.transport.abort()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str, path: str, number: int
    ) -> bool:
        """Send one answer; return False when the connection is to be closed."""
        self.asked[name] += 1
        for part in ANSWERS[name](path, number):
            if part is None:
                return False
            if isinstance(part, bytes):
                self.sent[name] += len(part)
                writer.write(part)
                await writer.drain()
            elif not await _pause(reader, part):
                return False
        return True

    async def _kubelet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer reads of container logs: the pod's name says which."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            found = LOG_PATH.match(await _request(reader))
            self.logs += 1
            body = LOGS[self.logs % len(LOGS)] if found else b""
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        writer.close()

    async def _never(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Accept, and do not answer."""
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


async def _request(reader: asyncio.StreamReader) -> str:
    """Read one request with its body; return its path."""
    head = await reader.readuntil(b"\r\n\r\n")
    if length := LENGTH.search(head):
        await reader.readexactly(int(length[1]))
    return head.split(b" ", 2)[1].decode("latin-1").partition("?")[0]


async def _pause(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait; return False as soon as the other side closes the connection."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await reader.read(1)
            return False
    return True


async def main() -> None:
    """Obey until the input ends."""
    replicas, loop = Replicas(), asyncio.get_running_loop()
    watching = asyncio.create_task(replicas.watch_own_clock())
    orders = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := await orders.readline():
        print(json.dumps(await replicas.obey(json.loads(order))), flush=True)
    watching.cancel()


if __name__ == "__main__":
    os.nice(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    assert Path("/proc").exists(), "the loopback addresses of Linux are needed"
    asyncio.run(main())
    os._exit(0)
