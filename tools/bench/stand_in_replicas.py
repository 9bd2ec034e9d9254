"""Stand in for thousands of vLLM replicas: one process, one port, a loopback address for each replica.

No vLLM runs here; the answers have its shapes and sizes. Orders come as JSON lines on standard input
(see `Replicas.obey`), each is answered by one line. Started by `tools.bench.probes`; ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter
from typing import Any, Literal

import orjson

from tools.localcluster.settings import REPOSITORY

Mood = Literal["quick", "slow", "silent"]
SLOW_SECONDS = 9.0
PER_NETWORK = 250
METRICS = REPOSITORY / "tests" / "data" / "vllm-0.32-metrics.txt"
MODEL = "mistral-7b"
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def address(index: int) -> str:
    """Return the loopback address of a replica: 127.1.0.1, 127.1.0.2, ..."""
    return f"127.1.{index // PER_NETWORK}.{1 + index % PER_NETWORK}"


def index_of(host: str) -> int:
    """Return the index of the replica at an address."""
    _, _, network, last = host.split(".")
    return int(network) * PER_NETWORK + int(last) - 1


def answers() -> dict[bytes, bytes]:
    """Path -> the whole answer, with the headers that uvicorn sends."""
    model = {"id": MODEL, "object": "model", "created": 1772445600, "owned_by": "vllm", "root": "/models/mistral"}
    permission = {"id": "modelperm-0123456789abcdef", "object": "model_permission", "created": 1772445600}
    permission |= {f"allow_{right}": True for right in ("create_engine", "sampling", "logprobs", "view", "fine_tuning")}
    model |= {"parent": None, "max_model_len": 8192, "permission": [permission]}
    json_type, text_type = b"application/json", b"text/plain; version=1.0.0; charset=utf-8"
    bodies = {
        b"/health": (b"", b""),
        b"/v1/models": (orjson.dumps({"object": "list", "data": [model]}), json_type),
        b"/version": (b'{"version":"0.32.0"}', json_type),
        b"/metrics": (METRICS.read_bytes(), text_type),
        b"/v1/completions": (orjson.dumps(_completion()), json_type),
    }
    return {path: _http(body, kind) for path, (body, kind) in bodies.items()}


def _completion() -> dict[str, Any]:
    choice = {"index": 0, "text": " a", "logprobs": None, "finish_reason": "length", "stop_reason": None}
    usage = {"prompt_tokens": 1, "total_tokens": 2, "completion_tokens": 1}
    known = {"id": "cmpl-0123456789abcdef", "object": "text_completion", "created": 1772445600, "model": MODEL}
    return {**known, "choices": [choice], "usage": usage}


def _http(body: bytes, kind: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\n"
    kind_line = b"content-type: %s\r\n" % kind if kind else b""
    return head + b"content-length: %d\r\n" % len(body) + kind_line + b"\r\n" + body


class Replicas:
    """The state that all connections share.

    Attributes:
        moods: replica -> how it answers; quick by default.
        probes: time and replica of each request for the models: each probe sends one, after `/health` or `/metrics`.
        connections: connections opened since the last report.
    """

    def __init__(self, keep_alive: float) -> None:
        self.answers = answers()
        self.keep_alive = keep_alive
        self.moods: dict[int, Mood] = {}
        self.probes: list[tuple[int, float]] = []
        self.requests = 0
        self.completions = 0
        self.connections = 0
        self.open: Counter[int] = Counter()

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out one order.

        Either `{"mood": "slow", "first": 0, "count": 200}` or `{"report": 5.0, "first": 0, "count": 200}`, with the
        interval in seconds.
        """
        chosen = range(order["first"], order["first"] + order["count"])
        if mood := order.get("mood"):
            self.moods |= dict.fromkeys(chosen, mood)
            return {}
        return self._report(set(chosen), order["report"])

    def _report(self, chosen: set[int], interval: float) -> dict[str, Any]:
        """Return the counts since the last report, and the pace of the chosen replicas."""
        report = {
            "probes": len(self.probes),
            "requests": self.requests,
            "completions": self.completions,
            "connections_opened": self.connections,
            "connections_open": sum(self.open.values()),
            "most_connections_of_one_replica": max(self.open.values(), default=0),
            **pace([probe for probe in self.probes if probe[0] in chosen], interval),
        }
        self.probes, self.requests, self.completions, self.connections = [], 0, 0, 0
        return report


def pace(probes: list[tuple[int, float]], interval: float) -> dict[str, Any]:
    """Return how evenly the probes of the replicas were spread.

    Returns:
        `late_ms_*`: by how much the time between two probes of one replica was above the interval;
        `largest_share_in_100_ms`: of all probes, in percent, when every interval is laid over the first.
    """
    last: dict[int, float] = {}
    late: list[float] = []
    slots: Counter[int] = Counter()
    for index, at in probes:
        slots[int(at % interval * 10)] += 1
        if index in last:
            late.append(max(0.0, at - last[index] - interval) * 1000)
        last[index] = at
    late.sort()
    return {
        "late_ms_p50": round(late[len(late) // 2], 1) if late else None,
        "late_ms_p99": round(late[int(len(late) * 0.99)], 1) if late else None,
        "late_ms_max": round(late[-1], 1) if late else None,
        "largest_share_in_100_ms": round(100 * max(slots.values()) / len(probes), 2) if probes else None,
    }


class Connection(asyncio.Protocol):
    """One connection: requests one at a time, with bodies of their `Content-Length`."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self._read = b""
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record the replica that a prober connected to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._index = index_of(transport.get_extra_info("sockname")[0])
        self._replicas.connections += 1
        self._replicas.open[self._index] += 1

    def connection_lost(self, error: Exception | None) -> None:
        """Count one open connection less."""
        self._replicas.open[self._index] -= 1

    def data_received(self, data: bytes) -> None:
        """Answer at once, late or never, as the mood of the replica says."""
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        path, self._read = self._read.split(b" ", 2)[1], b""
        replicas, now = self._replicas, time.monotonic()
        replicas.requests += 1
        replicas.completions += path == b"/v1/completions"
        if path == b"/v1/models":
            replicas.probes.append((self._index, now))
        mood = replicas.moods.get(self._index, "quick")
        if mood == "quick":
            self._answer(path)
        elif mood == "slow":
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._answer, path)

    def _answer(self, path: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(self._replicas.answers[path])
        if self._replicas.keep_alive:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = asyncio.get_running_loop().call_later(self._replicas.keep_alive, self._transport.close)


async def serve(keep_alive: float) -> None:
    """Print the port, then obey until the input ends."""
    loop = asyncio.get_running_loop()
    replicas = Replicas(keep_alive)
    server = await loop.create_server(lambda: Connection(replicas), "0.0.0.0", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while order := await reader.readline():
        print(json.dumps(replicas.obey(json.loads(order))), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
