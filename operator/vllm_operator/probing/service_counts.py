"""Count the answered, failed and slow requests of a replica, from the text of `/metrics`.

The same series as those of the alerts VLLMHighErrorRate and VLLMHighLatency: `desired/alerts.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vllm_operator.probing.exposition import read_label, read_number, read_series
from vllm_operator.vllm.metric_series import MetricNames

_HTTP = MetricNames().http_requests.encode()
_LATENCY = f"{MetricNames().latency}_bucket".encode()

MAX_COUNT = 1e15
"""Largest counter that is read: a float counts each request up to there."""


@dataclass(frozen=True, slots=True)
class ServiceCounts:
    """Requests of one or more replicas.

    Attributes:
        requests: POST requests that vLLM's API server answered, whatever their status.
        failed: those of them with a server error (5xx).
        finished: requests that the engine finished.
        slow: those of them that surely took longer than the limit.
    """

    requests: float = 0.0
    failed: float = 0.0
    finished: float = 0.0
    slow: float = 0.0

    def __add__(self, other: ServiceCounts) -> ServiceCounts:
        return ServiceCounts(
            self.requests + other.requests,
            self.failed + other.failed,
            self.finished + other.finished,
            self.slow + other.slow,
        )

    def since(self, before: ServiceCounts) -> ServiceCounts:
        """Return what came after an earlier sample; all, when a counter is smaller: the process has started again."""
        pairs = (
            (self.requests, before.requests),
            (self.failed, before.failed),
            (self.finished, before.finished),
            (self.slow, before.slow),
        )
        if any(now < then for now, then in pairs):
            return self
        return ServiceCounts(*(now - then for now, then in pairs))


def parse_service_counts(body: bytes, latency_limit: float) -> ServiceCounts | None:
    """Return the counts in a body of `/metrics`; None when it holds no usable number of requests.

    Args:
        body: the text of `/metrics`.
        latency_limit: seconds above which a request is slow. A histogram counts requests up to its bounds alone, so
            only those above the first bound from the limit on count as slow.
    """
    requests = failed = 0.0
    for labels, value in read_series(body, _HTTP):
        number = _count(value)
        if number is None:
            return None
        if b'method="POST"' in labels:
            requests += number
            failed += number if b'status="5xx"' in labels else 0.0
    buckets = _buckets(body)
    if buckets is None:
        return None
    finished = buckets.get(math.inf, 0.0)
    bound = min((bound for bound in buckets if bound >= latency_limit), default=math.inf)
    return ServiceCounts(requests, failed, finished, max(0.0, finished - buckets.get(bound, 0.0)))


def _buckets(body: bytes) -> dict[float, float] | None:
    """Return upper bound in seconds -> requests that took that long at most; None when one is no count."""
    buckets: dict[float, float] = {}
    for labels, value in read_series(body, _LATENCY):
        bound, number = read_number(read_label(labels, b"le")), _count(value)
        if bound is None or math.isnan(bound) or number is None:
            return None
        buckets[bound] = buckets.get(bound, 0.0) + number
    return buckets


def _count(value: bytes) -> float | None:
    number = read_number(value)
    return number if number is not None and 0 <= number <= MAX_COUNT else None
