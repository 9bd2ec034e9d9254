"""Observers: what metrics and tracing need to know about requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from vllm_operator.client.circuit_breaker import BreakerState
from vllm_operator.client.errors import VLLMClientError
from vllm_operator.client.responses import Usage

LOG = logging.getLogger("vllm_operator.client")

Operation = Literal[
    "chat",
    "completions",
    "embeddings",
    "rerank",
    "score",
    "tokenize",
    "detokenize",
    "models",
    "version",
    "health",
    "raw",
]


@dataclass(eq=False, slots=True)
class RequestInfo:
    """One call of a client, with all its attempts.

    Attributes:
        operation: name of the method; `raw` for requests of the OpenAI SDK.
        model: name of the model; empty when the operation has none or it is not known yet.
        stream: whether the answer is streamed.
        started: time of the call, by `time.monotonic()`.
        context: room for observers, each with its own key.
    """

    operation: Operation
    model: str
    stream: bool
    started: float
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """The end of a call.

    Attributes:
        status: `cancelled` when the caller gave up.
        error: the error; None unless the status is `error`.
        usage: tokens, as the server counted them; None when it did not.
        latency: seconds of the whole call.
        time_to_first_token: seconds to the first token; None without a stream or token.
        attempts: attempts that were made.
        endpoint: base URL of the last attempt.
    """

    status: Literal["ok", "error", "cancelled"]
    error: VLLMClientError | None
    usage: Usage | None
    latency: float
    time_to_first_token: float | None
    attempts: int
    endpoint: str


class Observer:
    """Receives what happens to requests. Override what you need; methods must return at once and not raise."""

    def request_started(self, request: RequestInfo) -> None:
        """Receive a call before its first attempt."""

    def request_headers(self, request: RequestInfo) -> Mapping[str, str]:
        """Return headers to send with each attempt of a call, such as `traceparent`."""
        return {}

    def first_token(self, request: RequestInfo, seconds: float) -> None:
        """Receive the seconds from the call to the first token of a stream."""

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        """Receive the error of an attempt, its number, and the seconds until the next one."""

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        """Receive the end of a call: exactly once for each one that started."""

    def breaker_changed(self, endpoint: str, old: BreakerState, new: BreakerState) -> None:
        """Receive a change of the circuit breaker of an endpoint."""


class Observers(Observer):
    """Passes everything to several observers. An observer that raises is logged, and harms no request."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._observers)

    @contextmanager
    def including(self, observer: Observer) -> Iterator[None]:
        """Pass everything to one more observer while the block runs. It receives the ends of earlier calls, too."""
        with self._lock:
            self._observers = (*self._observers, observer)
        try:
            yield
        finally:
            with self._lock:
                self._observers = tuple(other for other in self._observers if other is not observer)

    def request_started(self, request: RequestInfo) -> None:
        """Pass a call on."""
        self._each(lambda observer: observer.request_started(request))

    def request_headers(self, request: RequestInfo) -> Mapping[str, str]:
        """Return the headers of all observers."""
        headers: dict[str, str] = {}
        self._each(lambda observer: headers.update(observer.request_headers(request)))
        return headers

    def first_token(self, request: RequestInfo, seconds: float) -> None:
        """Pass the time to the first token on."""
        self._each(lambda observer: observer.first_token(request, seconds))

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        """Pass a retry on."""
        self._each(lambda observer: observer.request_retried(request, error, attempt, delay))

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        """Pass the end of a call on."""
        self._each(lambda observer: observer.request_finished(request, outcome))

    def breaker_changed(self, endpoint: str, old: BreakerState, new: BreakerState) -> None:
        """Pass a change of a circuit breaker on."""
        self._each(lambda observer: observer.breaker_changed(endpoint, old, new))

    def _each(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:
                LOG.exception("the observer %s raised; the request goes on", type(observer).__name__)
