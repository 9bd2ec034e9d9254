"""Metrics of the client for Prometheus: `AsyncVLLMClient(config, observers=[ClientMetrics()])`.

Every label has a bounded number of values, so that neither a caller who tries many names of models nor a server can
fill the memory of the process or of Prometheus.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from vllm_operator.client.circuit_breaker import BreakerState
from vllm_operator.client.errors import VLLMClientError
from vllm_operator.client.hooks import Observer, RequestInfo, RequestOutcome

OTHER = "other"
"""Label of models and endpoints beyond the bound, and of models that no server has answered for."""
UNKNOWN = "unknown"
"""Label of requests without a model, such as a check of health."""
MAX_MODELS = 50
MAX_LABEL_CHARACTERS = 256
"""Characters of the longest name that becomes a label."""
MAX_ENDPOINTS = 100
LATENCY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds. The longest is the default of `Timeouts.whole`."""
FIRST_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds. The longest is the default of `Timeouts.first_token`."""
BREAKER_VALUES = {BreakerState.CLOSED: 0, BreakerState.OPEN: 1, BreakerState.HALF_OPEN: 2}
STATUS_LABELS = {"ok": "success", "error": "error", "cancelled": "cancelled"}


class ClientCollectors:
    """The metrics of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self.requests = Counter(
            "vllm_client_requests_total",
            "Calls by their end: success, error or cancelled. Retries of a call are not counted here.",
            ["model", "status"],
            registry=registry,
        )
        self.errors = Counter(
            "vllm_client_errors_total",
            "Calls that ended with an error, by the class of the error.",
            ["model", "error"],
            registry=registry,
        )
        self.retries = Counter(
            "vllm_client_retries_total",
            "Attempts that were repeated, by the class of the error.",
            ["error"],
            registry=registry,
        )
        self.latency = Histogram(
            "vllm_client_request_latency_seconds",
            "Seconds from the call to the whole answer, retries included, of calls that succeeded.",
            ["model"],
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.first_token = Histogram(
            "vllm_client_time_to_first_token_seconds",
            "Seconds from the call to the first token of a stream.",
            ["model"],
            buckets=FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self.prompt_tokens = Counter(
            "vllm_client_prompt_tokens_total",
            "Tokens of prompts, as the server counted them.",
            ["model"],
            registry=registry,
        )
        self.generated_tokens = Counter(
            "vllm_client_tokens_generated_total",
            "Generated tokens, as the server counted them.",
            ["model"],
            registry=registry,
        )
        self.active = Gauge(
            "vllm_client_active_requests",
            "Calls that have not ended.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.breaker = Gauge(
            "vllm_client_circuit_breaker_state",
            "State of the circuit breaker of an endpoint: 0 closed, 1 open, 2 half-open.",
            ["endpoint"],
            registry=registry,
            multiprocess_mode="livemax",
        )


class BoundedLabels:
    """The values that a label may have: once there are enough, each further one becomes `other`."""

    def __init__(self, bound: int, values: Iterable[str] = ()) -> None:
        """Begin with some values. They count towards the bound."""
        self._bound = bound
        self._values: set[str] = set()
        for value in values:
            self.add(value)

    def add(self, value: str) -> str:
        """Allow a value if the bound permits, and return its label."""
        if len(self._values) < self._bound and len(value) <= MAX_LABEL_CHARACTERS:
            self._values.add(value)
        return self.label(value)

    def label(self, value: str) -> str:
        """Return the label of a value."""
        return value if value in self._values else OTHER


class ClientMetrics(Observer):
    """An observer that counts. Several clients may share one, or have one each with the same registry.

    A model has its own label when it is named here, or once a server has answered for it; until then it is `other`.
    """

    def __init__(
        self,
        *,
        models: Iterable[str] = (),
        registry: CollectorRegistry = REGISTRY,
        max_models: int = MAX_MODELS,
        max_endpoints: int = MAX_ENDPOINTS,
    ) -> None:
        """Register the metrics with a registry, unless it has them."""
        self._models = BoundedLabels(max_models, models)
        self._endpoints = BoundedLabels(max_endpoints)
        self._metrics = _collectors(registry)
        self._breakers: set[str] = set()

    def request_started(self, request: RequestInfo) -> None:
        """Count an active call."""
        self._metrics.active.inc()

    def first_token(self, request: RequestInfo, seconds: float) -> None:
        """Observe the time to the first token."""
        self._metrics.first_token.labels(self._model(request, is_answered=True)).observe(seconds)

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        """Count a retry."""
        self._metrics.retries.labels(type(error).__name__).inc()

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        """Count the end of a call, its latency and tokens."""
        metrics = self._metrics
        metrics.active.dec()
        model = self._model(request, is_answered=outcome.status == "ok")
        metrics.requests.labels(model, STATUS_LABELS[outcome.status]).inc()
        if outcome.status == "ok":
            metrics.latency.labels(model).observe(outcome.latency)
        if outcome.error is not None:
            metrics.errors.labels(model, type(outcome.error).__name__).inc()
        if outcome.usage is not None:
            metrics.prompt_tokens.labels(model).inc(max(0, outcome.usage.prompt_tokens))
            metrics.generated_tokens.labels(model).inc(max(0, outcome.usage.completion_tokens))
        if outcome.endpoint and outcome.endpoint not in self._breakers:
            self._set_breaker(outcome.endpoint, BreakerState.CLOSED)

    def breaker_changed(self, endpoint: str, old: BreakerState, new: BreakerState) -> None:
        """Show the state of a circuit breaker."""
        self._set_breaker(endpoint, new)

    def _set_breaker(self, endpoint: str, state: BreakerState) -> None:
        """Show a state, and remember that the endpoint has one."""
        label = self._endpoints.add(endpoint)
        if label != OTHER:
            self._breakers.add(endpoint)
            self._metrics.breaker.labels(label).set(BREAKER_VALUES[state])

    def _model(self, request: RequestInfo, is_answered: bool) -> str:
        """Return the label of the model of a call."""
        if not request.model:
            return UNKNOWN
        return self._models.add(request.model) if is_answered else self._models.label(request.model)


_REGISTERED: WeakKeyDictionary[CollectorRegistry, ClientCollectors] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _collectors(registry: CollectorRegistry) -> ClientCollectors:
    """Return the metrics of a registry: a second registration would be an error."""
    with _LOCK:
        if registry not in _REGISTERED:
            _REGISTERED[registry] = ClientCollectors(registry)
        return _REGISTERED[registry]
