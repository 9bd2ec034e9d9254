"""A process that answers like vLLM, like a broken vLLM, or like somebody who wants to stop the operator.

It prints its port, counts its answers on request (a line on standard input), and ends with its input. Every address of
127.0.0.0/8 reaches it, so that it stands for any number of replicas.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from tests.helpers.paths import DATA

METRICS = (DATA / "vllm-0.32-metrics.txt").read_bytes()
MODELS = b'{"object":"list","data":[{"id":"m","object":"model","max_model_len":8192,"permission":[{"id":"p"}]}]}'
BODIES = {b"/metrics": METRICS, b"/v1/models": MODELS, b"/version": b'{"version":"0.32.0"}', b"/health": b""}
ENDLESS_BYTES = 4 * 1024 * 1024
"""Where an answer without end stops all the same, so that the next one has its turn."""

ENDLESS_SECONDS = 0.3
LINES = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"content-length: 5\r\n",
]
WORDS = [b":", b"0", b"-1", b"f" * 16, b"9" * 40, b"chunked", b"\x00", b"{", b"[", b'"', b",", b"a" * 5000]


def answer(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    """Return an answer with a length."""
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, headers, len(body), body)


def in_chunks(body: bytes, size: int) -> bytes:
    """Return an answer in chunks of `size` bytes."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks


def mutated(chance: random.Random, text: bytes) -> bytes:
    """Return `text` with one to six accidents."""
    for _ in range(chance.randint(1, 6)):
        at, length = chance.randrange(len(text) + 1), chance.choice([1, 1, 4, 40, 4000])
        match chance.randrange(5):
            case 0:
                text = text[:at] + text[at + length :]
            case 1:
                text = text[:at] + chance.choice(LINES + WORDS) + text[at:]
            case 2:
                text = text[:at] + bytes(chance.randrange(256) for _ in range(min(length, 40))) + text[at + length :]
            case 3:
                text = text[:at] + text[at : at + length] * chance.randint(2, 50) + text[at:]
            case 4:
                text = text[:at] if chance.random() < 0.2 else text
    return text


def endless(head: bytes, part: bytes) -> Callable[[random.Random, bytes], Iterator[bytes]]:
    """Return a class of answers that begin with `head` and go on with `part`."""

    def write(_: random.Random, __: bytes) -> Iterator[bytes]:
        yield head
        block = part * max(1, 65536 // len(part))
        for _sent in range(0, ENDLESS_BYTES, len(block)):
            yield block

    return write


def bombs(chance: random.Random, _: bytes) -> Iterator[bytes]:
    """Yield a body that is dear to parse: as long as is read, of one piece of text again and again."""
    start = chance.choice(
        [b"", b"vllm:cache_config_info{", b"\nvllm:num_requests_running{", b'{"data":[', b"[", b'{"a":']
    )
    part = chance.choice([b"a", b'"', b"\\", b"[", b"{},", b"[[]],", b'{"id":"a"},', b"1,", b"\n", b'engine="', b"\xff",
                          b'\nvllm:num_requests_running{engine="7"} 1', b"\nvllm:cache_config_info{a"])  # fmt: skip
    size = chance.choice([60_000, 500_000, 1_040_000])
    yield answer(start + part * (size // len(part)))


def single_bytes(_: random.Random, path: bytes) -> Iterator[bytes]:
    """Yield an answer byte by byte."""
    for byte in answer(BODIES.get(path, b"")[:2000]):
        yield bytes([byte])


HOSTILE: dict[str, Callable[[random.Random, bytes], Iterator[bytes]]] = {
    "endless 100": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "endless 102 with headers": endless(b"", b"HTTP/1.1 102 Processing\r\nx: y\r\n\r\n"),
    "endless head": endless(b"HTTP/1.1 200 OK\r\nx: ", b"y"),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    "endless chunk extension": endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"x=y;"),
    "endless zeros of a chunk": endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0"),
    "endless small chunks": endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "endless trailers": endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    "endless body": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "unasked answers": endless(answer(b"ok"), answer(b"x" * 60_000)),
    "unasked empty answers": endless(answer(b"ok"), answer(b"")),
    "unasked 204": endless(answer(b"ok"), b"HTTP/1.1 204 No Content\r\n\r\n"),
    "unasked 100": endless(answer(b"ok"), b"HTTP/1.1 100 Continue\r\n\r\n"),
    "bomb": bombs,
    "single bytes": single_bytes,
    "small chunks": lambda chance, path: iter([in_chunks(BODIES.get(path, b"{}"), chance.choice([1, 7, 500]))]),
    "nothing": lambda chance, path: iter(()),
}
"""Class of hostile answers -> its writer, which gets the path of the request."""


class HostileReplica:
    """The server.

    Args:
        seed: of the choices.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.answers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection until it is closed."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            while True:
                path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
                self.answers += 1
                async with asyncio.timeout(ENDLESS_SECONDS):
                    for part in self._answer(path):
                        writer.write(part)
                        await writer.drain()
                if self._chance.random() < 0.05:
                    break
        writer.transport.abort()

    def _answer(self, path: bytes) -> Iterator[bytes]:
        kind, body = self._chance.random(), BODIES.get(path, b'{"detail":"Not Found"}')
        if kind < 0.35:  # else no replica would ever get beyond /health
            return iter([answer(body)])
        if kind < 0.85:
            true = answer(body) if kind < 0.7 else in_chunks(body, 10_000)
            return iter([mutated(self._chance, true)])
        return HOSTILE[self._chance.choice(list(HOSTILE))](self._chance, path)


async def main(seed: int) -> None:
    """Serve until the input ends."""
    replica = HostileReplica(seed)
    server = await asyncio.start_server(replica.serve, "0.0.0.0", 0, limit=65536)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(replica.answers, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
