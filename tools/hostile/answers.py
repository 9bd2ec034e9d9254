"""Answers of replicas to HTTP requests: one class behaves, the others want to stop or fill the operator.

A writer gets the path of a request and its number on the connection. It yields bytes to send, seconds to wait, or
`None` to close the connection at once. A writer that does not end keeps its connection until the reader closes it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from functools import cache

from tools.bench.stand_in_replicas import METRICS, MODEL

Part = bytes | float | None
Writer = Callable[[str, int], Iterator[Part]]

BLOCK_BYTES = 64 * 1024
BODY_BYTES = 4 * 1024 * 1024
"""Size of a large body: what a reader without a limit would take."""
HELD_SECONDS = 3600.0
"""Longer than any reader waits."""
STALLED = b'vllm:num_requests_running{engine="0"} 2.0\nvllm:generation_tokens_total{engine="0"} 7.0\n'
"""Metrics of an engine that has requests and makes no progress."""
HUGE = "9" * 30


def http(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Return an answer with a length; each header line ends with CRLF."""
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


@cache
def good(path: str) -> bytes:
    """Return the answer of a vLLM that serves."""
    model = {"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": 8192}]}
    bodies = {
        "/health": b"",
        "/v1/models": json.dumps(model).encode(),
        "/version": b'{"version":"0.32.0"}',
        "/metrics": METRICS.read_bytes(),
        "/v1/completions": b'{"id":"cmpl-1","object":"text_completion","choices":[{"text":" a"}]}',
    }
    return http(bodies[path]) if path in bodies else http(b'{"detail":"Not Found"}', "404 Not Found")


def except_for(path: str, make: Callable[[int], Iterator[Part]]) -> Writer:
    """Return a writer that answers well, but for one path; `make` gets the number of the request."""

    def write(asked: str, number: int) -> Iterator[Part]:
        return make(number) if asked == path else iter([good(asked)])

    return write


def body_of(path: str, body: Callable[[], bytes], headers: str = "") -> Writer:
    """Return a writer that answers one path with a body that is made once."""
    made = cache(lambda: http(body(), headers=headers))
    return except_for(path, lambda _: iter([made()]))


def unasked(part: bytes) -> Writer:
    """Return a writer that answers well and goes on with answers that nobody asked for."""

    def write(path: str, _: int) -> Iterator[Part]:
        yield good(path)
        yield from endless(part)

    return write


def endless(part: bytes) -> Iterator[Part]:
    """Yield blocks of a part without end."""
    block = part * max(1, BLOCK_BYTES // len(part))
    while True:
        yield block


def well(path: str, _: int) -> Iterator[Part]:
    """Answer as a vLLM that serves."""
    yield good(path)


def stalled(path: str, _: int) -> Iterator[Part]:
    """Answer as a vLLM whose engine has stopped: all but completions, and the counters stand still."""
    if path == "/v1/completions":
        yield HELD_SECONDS
    yield http(STALLED) if path == "/metrics" else good(path)


def silent(_: str, __: int) -> Iterator[Part]:
    """Accept the connection and never answer."""
    yield HELD_SECONDS


def endless_continue(_: str, __: int) -> Iterator[Part]:
    """Send `100 Continue` without end."""
    return endless(b"HTTP/1.1 100 Continue\r\n\r\n")


def label_without_quotes() -> bytes:
    """Return metrics whose `cache_config_info` is one long word (C1)."""
    head = b"vllm:cache_config_info{"
    return head + b"a" * (BODY_BYTES - len(head) - 3) + b"} 1"


def many_series() -> bytes:
    """Return metrics of very many engines, with long values (M2)."""
    line = 'vllm:num_requests_running{{engine="{number}"}} 1{digits}\n'
    count = BODY_BYTES // 60
    return "".join(line.format(number=number, digits="0" * 10) for number in range(count)).encode()[:BODY_BYTES]


def drip(path: str, _: int) -> Iterator[Part]:
    """Send a good answer one byte at a time, slowly, as chunks."""
    yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    for byte in good(path).partition(b"\r\n\r\n")[2]:
        yield b"1;x=y\r\n%c\r\n" % byte
        yield 0.05
    yield b"0\r\n\r\n"


def flapping(path: str, number: int) -> Iterator[Part]:
    """Be healthy and unhealthy in turns, with another text each time."""
    if path == "/health" and number % 2:
        yield http(f"failure number {number} ".encode() * 200, "503 Service Unavailable")
    elif path == "/v1/models" and number % 3 == 0:
        yield http(json.dumps({"data": [{"id": f"model-{number}"}]}).encode())
    else:
        yield good(path)


def huge_numbers(path: str, number: int) -> Iterator[Part]:
    """Answer with numbers that no integer of the API holds, and a new version each time."""
    data = [{"id": MODEL, "max_model_len": int(HUGE)}]
    series = "".join(
        f'vllm:{name}{{engine="{engine}"}} {value}\n'
        for name in ("num_requests_running", "generation_tokens_total", "cache_config_info")
        for engine, value in ((HUGE, "1e999"), ("-1", "NaN"), ("0", HUGE), ("1", f"{number}e300"))
    )
    bodies = {
        "/v1/models": json.dumps({"data": data}).encode(),
        "/version": json.dumps({"version": f"{HUGE}.{number}.0"}).encode(),
        "/metrics": series.encode(),
    }
    yield http(bodies[path]) if path in bodies else good(path)


def half(path: str, number: int) -> Iterator[Part]:
    """Close the connection within an answer, each time at another byte."""
    whole = good(path)
    yield whole[: number * 7 % len(whole)]
    yield None


def compressed() -> bytes:
    """Return 1 GiB of zeros, compressed twice."""
    block = gzip.compress(b"0" * 2**20, 9)
    return gzip.compress(block * 1024, 9)


ANSWERS: dict[str, Writer] = {
    "well": well,
    "stalled": stalled,
    "silent": silent,
    "c1": body_of("/metrics", label_without_quotes),
    "c2": unasked(http(b"x" * 60_000)),
    "h1": endless_continue,
    "m2": body_of("/metrics", many_series),
    "deep-json": body_of("/v1/models", lambda: b'{"data":' + b"[" * 2**20),
    "many-models": body_of(
        "/v1/models", lambda: json.dumps({"data": [{"id": f"{number:0200}"} for number in range(4000)]}).encode()
    ),
    "drip": drip,
    "flapping": flapping,
    "huge-numbers": huge_numbers,
    "zip-bomb": body_of("/metrics", compressed, "content-encoding: gzip\r\n"),
    "half": half,
}
"""Name of a class of answers -> its writer."""
