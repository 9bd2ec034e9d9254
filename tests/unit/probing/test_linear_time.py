"""Measure that the time of every parser of a replica's answers grows no faster than the answer, whatever it holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain

import pytest

from tests.helpers.fake_vllm import RECORDED_METRICS
from vllm_operator.probing.engine_counters import parse_engine_counters
from vllm_operator.probing.http_answer import BodyTooLongError, HttpAnswer, NotHttpError
from vllm_operator.probing.responses import (
    METRICS_LIMIT,
    MODELS_LIMIT,
    SMALL_LIMIT,
    parse_capacity,
    parse_models,
    parse_version,
)

READ_SIZE = 256 * 1024
"""Bytes that the event loop reads at once, at most."""


def read_answer(data: bytes) -> None:
    """Read a body of 1 MiB that comes in chunks, or whatever `data` is, as far as it is let through."""
    for head in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"):
        answer = HttpAnswer(METRICS_LIMIT)
        try:
            answer.feed(head + data)
        except (NotHttpError, BodyTooLongError):
            continue


PARSERS: list[tuple[Callable[[bytes], object], int]] = [
    (parse_engine_counters, METRICS_LIMIT),
    (parse_capacity, METRICS_LIMIT),
    (parse_models, MODELS_LIMIT),
    (parse_version, SMALL_LIMIT),
    (read_answer, READ_SIZE),
]
"""Each parser, and the longest body that is read for it, in bytes."""

CLASSES = [bytes([byte]) for byte in b'a1_"{}[]\\ \n\r\t=,:#.-\x00\x7f\xff']
"""One byte of each class."""

LINES = [
    b'vllm:cache_config_info{engine="0",kv_cache_size_tokens="2097152",num_gpu_blocks="16384"} 1.0\n',
    b'vllm:num_requests_running{engine="0",model_name="m"} 1.0\n',
    b'vllm:engine_sleep_state{engine="0",sleep_state="awake"} 1.0\n',
    b'http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 3.0\n',
    b"process_start_time_seconds 1.7e9\n",
    b'{"object":"list","data":[{"id":"m","max_model_len":8192,"permission":[{}]},',
    b'{"version":"0.32.0"}',
    b"HTTP/1.1 100 Continue\r\nserver: uvicorn\r\n\r\n",
    b"5;x=y\r\nhello\r\n",
]
"""Text that a parser looks for: each of its beginnings is repeated, and put before a long rest."""

ALLOWED_SECONDS = 0.5
"""Ten times the longest stand-still of the event loop that is allowed: a busy machine does not reach it."""


def bodies(size: int) -> list[bytes]:
    """Return hostile bodies of about `size` bytes."""
    beginnings = sorted({line[:end] for line in LINES for end in chain(range(1, len(line), 13), (len(line),))})
    repeated = [part * (size // len(part)) for part in (*CLASSES, *beginnings, *(b"\n" + part for part in beginnings))]
    continued = [part + byte * (size - len(part)) for part in beginnings[::8] for byte in CLASSES]
    nested = [opened * (size // 4) + closed * (size // 4) for opened, closed in ((b"[", b"]"), (b'{"a":', b"}"))]
    listed = [b'{"data":[' + b",".join([item] * (size // (len(item) + 1))) + b"]}" for item in (b"{}", b"[[]]", b'""')]
    return [*repeated, *continued, *nested, *listed]


def slowest(parser: Callable[[bytes], object], size: int) -> float:
    """Return the CPU seconds of the body that takes longest."""
    return max(_cpu_seconds(parser, body) for body in bodies(size))


def _cpu_seconds(parser: Callable[[bytes], object], body: bytes) -> float:
    begun = time.thread_time()
    parser(body)
    return time.thread_time() - begun


@pytest.mark.parametrize(("parser", "limit"), PARSERS, ids=lambda value: getattr(value, "__name__", ""))
def test_four_times_the_bytes_take_no_sixteen_times_as_long(parser: Callable[[bytes], object], limit: int) -> None:
    floor = 0.002  # seconds; below it, the clock and the caches count for more than the bytes
    quarter, whole = slowest(parser, limit // 4), slowest(parser, limit)
    assert whole < 10 * max(quarter, floor)
    assert whole < ALLOWED_SECONDS


def test_real_metrics_have_room_for_thirty_engines() -> None:
    lines = RECORDED_METRICS.splitlines(keepends=True)
    engine = sum(len(line) for line in lines if 'engine="0"' in line)
    assert len(RECORDED_METRICS) + 30 * engine < METRICS_LIMIT
