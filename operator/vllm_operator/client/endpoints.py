"""The endpoints of a client: which one gets the next request, and which ones are avoided."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from vllm_operator.client.circuit_breaker import BreakerPermit, BreakerState, CircuitBreaker
from vllm_operator.client.config import CircuitBreakerConfig
from vllm_operator.client.errors import (
    CircuitOpen,
    ConnectionFailed,
    InvalidResponse,
    ModelNotReady,
    RateLimitExceeded,
    RequestTimeout,
    ServerFailed,
    ServerOverloaded,
    StreamInterrupted,
    VLLMClientError,
)

AVOID_SECONDS = 1.0
"""Seconds for which an endpoint that just failed comes after the others. One that fails at once is always the least
busy, and would draw all requests until its breaker opens."""
FAILURES = (
    ConnectionFailed,
    InvalidResponse,
    ModelNotReady,
    RequestTimeout,
    ServerFailed,
    ServerOverloaded,
    StreamInterrupted,
)
"""Errors that speak against an endpoint. Others, such as a refused request, show that it works."""


@dataclass(eq=False)
class Endpoint:
    """One base URL.

    Attributes:
        url: base URL without a slash at the end.
        breaker: its circuit breaker.
        in_flight: requests that are under way.
        healthy: the result of the last health check; True before the first.
        failed_at: time of the last failure, 0 for none since the last success.
    """

    url: str
    breaker: CircuitBreaker
    in_flight: int = 0
    healthy: bool = True
    failed_at: float = field(default=float("-inf"))


class EndpointLease:
    """A request under way at an endpoint. Close it exactly once, after its result is reported."""

    __slots__ = ("_closed", "_permit", "_pool", "endpoint")

    def __init__(self, pool: EndpointPool, endpoint: Endpoint, permit: BreakerPermit) -> None:
        self._pool = pool
        self._permit = permit
        self._closed = False
        self.endpoint = endpoint

    def succeeded(self) -> None:
        """Report that the endpoint answered."""
        self.endpoint.failed_at = float("-inf")
        self._permit.success()

    def failed(self, error: VLLMClientError) -> None:
        """Report an error; one that is not the endpoint's fault counts as an answer."""
        if isinstance(error, FAILURES):
            self._pool.mark_failed(self.endpoint)
            self._permit.failure()
        elif isinstance(error, RateLimitExceeded) or error.answer is not None:
            self._permit.success()
        else:
            self._permit.release()

    def broke(self) -> None:
        """Report that a stream broke after its endpoint had answered."""
        self._pool.mark_failed(self.endpoint)
        self.endpoint.breaker.count_failure()

    def close(self) -> None:
        """End the request: the endpoint has one less in flight."""
        if not self._closed:
            self._closed = True
            self._permit.release()
            self._pool.finished(self.endpoint)


class EndpointPool:
    """Chooses endpoints: the one with the least requests in flight among those that work. Safe under threads."""

    def __init__(
        self,
        urls: Sequence[str],
        config: CircuitBreakerConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_change: Callable[[str, BreakerState, BreakerState], None] | None = None,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turn = 0
        self.endpoints = tuple(Endpoint(url, self._breaker(url, config, on_change)) for url in urls)

    def _breaker(
        self,
        url: str,
        config: CircuitBreakerConfig,
        on_change: Callable[[str, BreakerState, BreakerState], None] | None,
    ) -> CircuitBreaker:
        report = None if on_change is None else lambda old, new: on_change(url, old, new)
        return CircuitBreaker(config, clock=self._clock, on_change=report)

    def acquire(self, tried: Collection[Endpoint] = ()) -> EndpointLease:
        """Return a lease of the best endpoint; those that were tried come last.

        Raises:
            CircuitOpen: the circuit breakers of all endpoints are open.
        """
        for endpoint in self._in_order(tried):
            permit = endpoint.breaker.acquire()
            if permit is not None:
                with self._lock:
                    endpoint.in_flight += 1
                return EndpointLease(self, endpoint, permit)
        seconds = min(endpoint.breaker.seconds_until_test for endpoint in self.endpoints)
        raise CircuitOpen(
            f"the circuit breaker is open for {', '.join(e.url for e in self.endpoints)}: too many requests failed; "
            f"the next test is in {seconds:.1f} s",
            retry_after=seconds,
        )

    def has_other(self, tried: Collection[Endpoint]) -> bool:
        """Return whether an endpoint that was not tried would take a request now."""
        return any(e not in tried and e.healthy and e.breaker.admits() for e in self.endpoints)

    def mark_failed(self, endpoint: Endpoint) -> None:
        """Let an endpoint come after the others for a moment."""
        endpoint.failed_at = self._clock()

    def finished(self, endpoint: Endpoint) -> None:
        """Count a request that ended."""
        with self._lock:
            endpoint.in_flight -= 1

    def _in_order(self, tried: Collection[Endpoint]) -> Sequence[Endpoint]:
        if len(self.endpoints) == 1:
            return self.endpoints
        now = self._clock()
        with self._lock:
            self._turn += 1
            turn = self._turn % len(self.endpoints)
        rotated = self.endpoints[turn:] + self.endpoints[:turn]
        return sorted(
            rotated,
            key=lambda e: (e in tried, not e.healthy, now - e.failed_at < AVOID_SECONDS, e.in_flight),
        )
