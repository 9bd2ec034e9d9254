"""Find the engine counters in `/metrics` without parsing the rest: a search of 50 KB takes 30 µs.

Which counters move was measured on vLLM 0.32 with the engine's process suspended: none of `_PROGRESS` does, whatever
requests vLLM's API server accepts. The numbers of vLLM's API server still change: connections (`process_open_fds`), and
requests that their client cancelled, which `http_requests_total` counts as 2xx.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b

from vllm_operator.probing.exposition import read_label, read_number, read_series

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
_INFERENCE = {
    b"/v1/chat/completions",
    b"/v1/completions",
    b"/v1/responses",
    b"/v1/messages",
    b"/inference/v1/generate",
    b"/v1/embeddings",
    b"/v2/embed",
    b"/pooling",
    b"/classify",
    *(prefix + path for path in (b"/score", b"/rerank") for prefix in (b"", b"/v1")),
    b"/v2/rerank",
    b"/v1/audio/transcriptions",
    b"/v1/audio/translations",
    b"/invocations",
}
"""Paths of vLLM whose requests reach the engine."""

MAX_ENGINES = 128
"""Data-parallel engines of one replica that are observed."""

_TEXT_LIMIT = 512
"""Longest text of one engine's counters that is kept, in bytes; a longer one is kept as its hash. vLLM 0.32 has eight
counters of 3 to 20 bytes. So at most 64 KiB of each replica are kept between two probes."""


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """One sample of a replica.

    Attributes:
        progress: data-parallel engine -> its counters, as one text that changes when any of them does.
        requests: engine -> requests that run or wait in it, as it reported last.
        finished: inference requests that succeeded or were given up by their client.
        connections: open files of vLLM's API server, which grow by one with each connection; None without that
            metric.
        has_sleep_state: the metrics show whether an engine sleeps, as they do since vLLM 0.11.
        process_start: start time of vLLM's API server, which distinguishes one run of it from the next.
    """

    progress: dict[str, bytes] = field(default_factory=dict)
    requests: dict[str, float] = field(default_factory=dict)
    finished: float = 0.0
    connections: float | None = None
    process_start: float | None = None
    has_sleep_state: bool = False


def parse_engine_counters(body: bytes) -> EngineCounters | None:
    """Read the engine counters from a body of `/metrics`.

    None when it holds no engine counters, as with `--disable-log-stats`, or when an engine was put to sleep and rightly
    makes no progress.
    """
    progress: defaultdict[str, list[bytes]] = defaultdict(list)
    requests: defaultdict[str, float] = defaultdict(float)
    for family in _PROGRESS:
        for labels, value in read_series(body, family):
            engine = _engine(labels)
            if engine not in progress and len(progress) >= MAX_ENGINES:
                continue
            progress[engine].append(value)
            if family in _REQUESTS:
                requests[engine] += read_number(value) or 0.0
    awake = [value for labels, value in read_series(body, _SLEEP) if _AWAKE in labels]
    if not progress or b"0.0" in awake:
        return None
    return EngineCounters(
        progress={engine: _text(values) for engine, values in progress.items()},
        requests=dict(requests),
        finished=_finished(body),
        connections=_single(body, b"process_open_fds"),
        process_start=_single(body, b"process_start_time_seconds"),
        has_sleep_state=bool(awake),
    )


def _text(values: list[bytes]) -> bytes:
    text = b" ".join(values)
    return text if len(text) <= _TEXT_LIMIT else blake2b(text, digest_size=16).digest()


def _engine(labels: bytes) -> str:
    engine = read_label(labels, b"engine") or b""
    return engine.decode() if engine.isdigit() else "0"


def _finished(body: bytes) -> float:
    """Sum the finished inference requests; a refused one (4xx) never reaches the engine, so it does not count."""
    return sum(
        read_number(value) or 0.0
        for labels, value in read_series(body, b"http_requests_total")
        if b'status="2xx"' in labels and b'method="POST"' in labels and read_label(labels, b"handler") in _INFERENCE
    )


def _single(body: bytes, family: bytes) -> float | None:
    return next((read_number(value) for _, value in read_series(body, family)), None)
