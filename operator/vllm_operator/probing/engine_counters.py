"""Find the engine counters in `/metrics` without parsing the rest: a search of 50 KB takes 30 µs.

Which counters move was measured on vLLM 0.32 with the engine's process suspended: none of `_PROGRESS` does, whatever
requests vLLM's API server accepts. The numbers of vLLM's API server still change: connections (`process_open_fds`), and
requests that their client cancelled, which `http_requests_total` counts as 2xx.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

_REQUESTS = (b"vllm:num_requests_running", b"vllm:num_requests_waiting")
_PROGRESS = (
    *_REQUESTS,
    b"vllm:kv_cache_usage_perc",
    b"vllm:gpu_cache_usage_perc",  # its name before 0.10
    b"vllm:prefix_cache_queries_total",
    b"vllm:gpu_prefix_cache_queries_total",
    b"vllm:num_preemptions_total",
    b"vllm:prompt_tokens_total",
    b"vllm:generation_tokens_total",
    b"vllm:iteration_tokens_total_count",
)
_SLEEP, _AWAKE = b"vllm:engine_sleep_state", b'sleep_state="awake"'
_ENGINE = re.compile(rb'engine="(\d+)"')
_INFERENCE = re.compile(
    rb'handler="/(?:v1/(?:chat/completions|completions|embeddings|responses|messages)|pooling|invocations)"'
)


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """One sample of a replica.

    Attributes:
        progress: data-parallel engine -> its counters, as one text that changes when any of them does.
        requests: engine -> requests that run or wait in it, as it reported last.
        finished: inference requests that succeeded or were given up by their client.
        connections: open files of vLLM's API server, which grow by one with each connection; None without that
            metric.
        process_start: start time of vLLM's API server, which distinguishes one run of it from the next.
    """

    progress: dict[str, bytes] = field(default_factory=dict)
    requests: dict[str, float] = field(default_factory=dict)
    finished: float = 0.0
    connections: float | None = None
    process_start: float | None = None


def parse_engine_counters(body: bytes) -> EngineCounters | None:
    """Read the engine counters from a body of `/metrics`.

    None when it holds no engine counters, as with `--disable-log-stats`, or when an engine was put to sleep and rightly
    makes no progress.
    """
    progress: defaultdict[str, list[bytes]] = defaultdict(list)
    requests: defaultdict[str, float] = defaultdict(float)
    for family in _PROGRESS:
        for labels, value in _series(body, family):
            engine = _engine(labels)
            progress[engine].append(value)
            if family in _REQUESTS:
                requests[engine] += _number(value) or 0.0
    if not progress or any(value == b"0.0" for labels, value in _series(body, _SLEEP) if _AWAKE in labels):
        return None
    return EngineCounters(
        progress={engine: b" ".join(values) for engine, values in progress.items()},
        requests=dict(requests),
        finished=_finished(body),
        connections=_single(body, b"process_open_fds"),
        process_start=_single(body, b"process_start_time_seconds"),
    )


def _series(body: bytes, family: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield labels and value of every series of one family: vLLM exports them in one block."""
    start = b"\n" + family
    at = body.find(start + b"{")
    if at < 0:
        at = body.find(start + b" ")
    while at >= 0:
        end = body.find(b"\n", at + 1)
        text = body[at + len(start) : end if end >= 0 else len(body)]
        labels, _, value = text.rpartition(b" ")
        yield labels, value
        at = end if end >= 0 and body.startswith((start + b"{", start + b" "), end) else -1


def _engine(labels: bytes) -> str:
    found = _ENGINE.search(labels)
    return found[1].decode() if found else "0"


def _finished(body: bytes) -> float:
    """Sum the finished inference requests; a refused one (4xx) never reaches the engine, so it does not count."""
    return sum(
        _number(value) or 0.0
        for labels, value in _series(body, b"http_requests_total")
        if b'status="2xx"' in labels and b'method="POST"' in labels and _INFERENCE.search(labels)
    )


def _single(body: bytes, family: bytes) -> float | None:
    return next((_number(value) for _, value in _series(body, family)), None)


def _number(value: bytes) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None
