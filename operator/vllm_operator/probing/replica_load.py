"""Read the load of an engine from `/metrics`, under the names of any release of vLLM, without parsing the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from vllm_operator.probing.exposition import read_number, read_series

_RUNNING = b"vllm:num_requests_running"
_WAITING = b"vllm:num_requests_waiting"
_KV_CACHE = (b"vllm:kv_cache_usage_perc", b"vllm:gpu_cache_usage_perc")
"""Name of the metric, and its name before vLLM 0.10 (`vllm_operator.vllm.metric_series`)."""
_FINISHED = b"vllm:request_success_total"

MAX_REQUESTS = 1_000_000
"""Most requests of one engine that are believed; a larger number is junk."""


@dataclass(frozen=True, slots=True)
class RequestLoad:
    """The load of one replica, over all of its data-parallel engines.

    Attributes:
        running: requests that run.
        waiting: requests that wait.
        kv_cache_usage: used fraction of the fullest KV cache; None where vLLM exports none.
        finished: requests that have finished since the start.
    """

    running: float
    waiting: float
    kv_cache_usage: float | None = None
    finished: float = 0.0

    @property
    def requests(self) -> float:
        """Requests that run or wait."""
        return self.running + self.waiting


def parse_replica_load(body: bytes) -> RequestLoad | None:
    """Return the load from a body of `/metrics`; None when it has no valid number of running and waiting requests."""
    running, waiting = _numbers(body, _RUNNING, MAX_REQUESTS), _numbers(body, _WAITING, MAX_REQUESTS)
    if not running or not waiting:
        return None
    return RequestLoad(
        running=sum(running),
        waiting=sum(waiting),
        kv_cache_usage=_first_maximum(_numbers(body, family, 1.0) for family in _KV_CACHE),
        finished=sum(_numbers(body, _FINISHED, math.inf) or ()),
    )


def _numbers(body: bytes, family: bytes, largest: float) -> list[float] | None:
    """Return the values of a family; None when one of them is no number from 0 to `largest`."""
    numbers = []
    for _, value in read_series(body, family):
        number = read_number(value)
        if number is None or not math.isfinite(number) or not 0 <= number <= largest:
            return None
        numbers.append(number)
    return numbers


def _first_maximum(families: Iterable[list[float] | None]) -> float | None:
    return next((max(values) for values in families if values), None)
