"""How busy the engines of a server are, as vLLM's own `/metrics` show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

MAX_METRICS_BYTES = 8 * 1024 * 1024
"""Bytes of `/metrics` that are read. vLLM 0.32 answers 52 KiB for one model."""
MAX_LINE_CHARACTERS = 4096
"""Characters of a line that is read. A series of vLLM has about 100."""
MAX_SERIES = 1000
"""Series that are read: one for each engine and model."""
FIELDS = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:generation_tokens_total": "generated_tokens",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "process_start_time_seconds": "started",
}
"""Series of vLLM 0.6 to 0.32 and the field of `EngineLoad` that sums it."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """One reading of the metrics, summed over all engines and models of the server."""

    running: float
    """Requests that the engines compute."""
    waiting: float
    """Requests in the queues of the engines."""
    generated_tokens: float = 0.0
    """Generated tokens since the process started."""
    prompt_tokens: float = 0.0
    """Tokens of prompts since the process started."""
    started: float = 0.0
    """Start of the process in seconds since 1970. It differs between replicas behind one address. 0 when unknown."""


@dataclass(frozen=True, slots=True)
class QueueSample:
    """Running and waiting requests at one moment of a measurement."""

    seconds: float
    """Seconds since the measurement began."""
    running: float
    waiting: float


def parse_engine_load(metrics: bytes | str) -> EngineLoad | None:
    """Return the load that an answer of `/metrics` shows, or None when it is not the answer of a vLLM."""
    text = metrics if isinstance(metrics, str) else metrics[:MAX_METRICS_BYTES].decode("utf-8", "replace")
    sums = dict.fromkeys(FIELDS.values(), 0.0)
    found: set[str] = set()
    try:
        for name, value in _series(text):
            field = FIELDS[name]
            found.add(field)
            sums[field] += value
    except ValueError:
        return None
    return EngineLoad(**sums) if {"running", "waiting"} <= found else None


def _series(text: str) -> Iterator[tuple[str, float]]:
    """Yield name and value of each series of `FIELDS`. Only their lines are parsed: most of the answer is histograms.

    Raises:
        ValueError: a line is not in Prometheus' text format.
    """
    lines = [line for line in text.split("\n") if line.startswith(tuple(FIELDS)) and len(line) < MAX_LINE_CHARACTERS]
    lines = [line for line in lines if line.partition("{")[0].partition(" ")[0] in FIELDS][:MAX_SERIES]
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            if sample.name in FIELDS and math.isfinite(sample.value) and sample.value >= 0:
                yield sample.name, sample.value
