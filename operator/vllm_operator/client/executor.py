"""Runs calls: endpoint, attempts, deadline, circuit breaker and observers around whatever is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from vllm_operator.client.circuit_breaker import BreakerState
from vllm_operator.client.config import ClientConfig, Timeouts, checked_headers
from vllm_operator.client.credentials import ApiKey
from vllm_operator.client.endpoints import Endpoint, EndpointLease, EndpointPool
from vllm_operator.client.errors import RequestTimeout, RetryAdvice, VLLMClientError
from vllm_operator.client.hooks import Observers, Operation, RequestInfo, RequestOutcome
from vllm_operator.client.responses import Usage
from vllm_operator.client.retry import RetryBudget, RetryLoop, is_retried

T = TypeVar("T")
Send = Callable[[EndpointLease, bool], Awaitable[T]]
"""Sends one attempt: lease of the endpoint, and whether a new connection is needed."""


@dataclass(eq=False, slots=True)
class Call:
    """One call of a client.

    Attributes:
        info: the call, as observers see it.
        timeouts: its timeouts.
        deadline: time of the event loop at which it ends; None for no bound.
        attempts: attempts so far.
        endpoint: base URL of the last attempt.
        tried: endpoints of all attempts.
        first_token_after: seconds to the first token; None before it.
        finished: whether its end was reported.
        impatient: whether its caller waits for less time than the configuration says: reaching that time says nothing
            about the endpoint.
    """

    info: RequestInfo
    timeouts: Timeouts
    deadline: float | None
    attempts: int = 0
    endpoint: str = ""
    tried: list[Endpoint] = field(default_factory=list)
    first_token_after: float | None = None
    finished: bool = False
    impatient: bool = False

    @property
    def elapsed(self) -> float:
        """Seconds since the call."""
        return time.monotonic() - self.info.started

    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline

    def whole_timeout(self) -> RequestTimeout:
        """Return the error for a call that reached its deadline."""
        seconds = self.timeouts.whole or 0.0
        text = f"no complete answer within {seconds:g} s (timeouts.whole), after {self.attempts} attempts"
        return RequestTimeout(text, phase="whole", seconds=seconds, endpoint=self.endpoint)


class Executor:
    """Shared by all calls of a client: endpoints, retry budget, observers."""

    def __init__(self, config: ClientConfig, observers: Observers) -> None:
        self.config = config
        self.observers = observers
        self._observed = bool(observers)
        self.pool = EndpointPool(config.base_urls, config.circuit_breaker, on_change=self._breaker_changed)
        self.budget = RetryBudget(config.retries.budget_ratio, config.retries.budget_burst)
        self.api_key = ApiKey(config)

    def start(
        self,
        operation: Operation,
        model: str,
        timeout: float | Timeouts | None,
        *,
        stream: bool = False,
        since: float | None = None,
    ) -> Call:
        """Begin a call and report it to the observers; its time runs from now, or from a time of the event loop."""
        timeouts = self._timeouts(timeout)
        info = RequestInfo(operation, model, stream, time.monotonic())
        now = asyncio.get_running_loop().time() if since is None else since
        deadline = None if timeouts.whole is None else now + timeouts.whole
        if self._observed:
            self.observers.request_started(info)
        return Call(info, timeouts, deadline, impatient=_is_shorter(timeouts.whole, self.config.timeouts.whole))

    def own_headers(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the API key and the headers of a caller. Read them before the call starts: this may fail.

        Raises:
            ValueError: a header is not valid, or the file with the API key cannot be read.
        """
        headers = self.api_key.headers()
        if extra:
            if any(name.lower() == "authorization" for name in extra):
                headers.clear()
            headers.update(checked_headers(extra))
        return headers

    def headers(self, call: Call, own: Mapping[str, str]) -> dict[str, str]:
        """Return the headers of a call: those of observers and its own."""
        return {**self.observers.request_headers(call.info), **own} if self._observed else dict(own)

    async def run(self, call: Call, send: Send[T], goes_on: Callable[[T], bool] = lambda _: False) -> T:
        """Return the result of the first attempt that succeeds, before the deadline of the call.

        Args:
            call: the call.
            send: sends an attempt.
            goes_on: returns whether the result is a stream that goes on, so that its lease stays open.
        """
        self.budget.add_request()
        try:
            async with asyncio.timeout_at(call.deadline):
                try:
                    return await self._attempt(call, send, goes_on)
                except VLLMClientError as error:
                    if not is_retried(error) or self.config.retries.max_attempts == 1:
                        raise
                    return await self._retry_loop(call).run(error, lambda: self._attempt(call, send, goes_on))
        except VLLMClientError:
            raise
        except TimeoutError:
            raise call.whole_timeout() from None

    async def run_to_end(self, call: Call, send: Send[T], usage_of: Callable[[T], Usage | None]) -> T:
        """Run a call that ends with its answer, and report its end."""
        try:
            result = await self.run(call, send)
        except VLLMClientError as error:
            error.attempts = max(1, call.attempts)
            self.finish(call, "error", error)
            raise
        except BaseException:
            self.finish(call, "cancelled")
            raise
        self.finish(call, "ok", usage=usage_of(result))
        return result

    def finish(
        self,
        call: Call,
        status: Literal["ok", "error", "cancelled"],
        error: VLLMClientError | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Report the end of a call, once."""
        if call.finished:
            return
        call.finished = True
        if self._observed:
            outcome = RequestOutcome(
                status, error, usage, call.elapsed, call.first_token_after, call.attempts, call.endpoint
            )
            self.observers.request_finished(call.info, outcome)

    def first_token(self, call: Call, seconds: float | None = None) -> None:
        """Report the first token of a stream, which came now, or after these seconds."""
        call.first_token_after = call.elapsed if seconds is None else seconds
        if self._observed:
            self.observers.first_token(call.info, call.first_token_after)

    async def _attempt(self, call: Call, send: Send[T], goes_on: Callable[[T], bool]) -> T:
        lease = self.pool.acquire(call.tried)
        call.attempts += 1
        call.endpoint = lease.endpoint.url
        fresh = lease.endpoint in call.tried
        call.tried.append(lease.endpoint)
        try:
            result = await send(lease, fresh)
        except VLLMClientError as error:
            lease.failed(error)
            lease.close()
            raise
        except BaseException:
            if call.is_over() and not call.impatient:
                lease.failed(call.whole_timeout())
            lease.close()
            raise
        lease.succeeded()
        if not goes_on(result):
            lease.close()
        return result

    def _retry_loop(self, call: Call) -> RetryLoop:
        return RetryLoop(
            self.config.retries,
            self.budget,
            call.deadline,
            fails_over=lambda error: error.advice is RetryAdvice.ELSEWHERE and self.pool.has_other(call.tried),
            on_retry=lambda error, attempt, delay: self.observers.request_retried(call.info, error, attempt, delay),
        )

    def _timeouts(self, timeout: float | Timeouts | None) -> Timeouts:
        if timeout is None:
            return self.config.timeouts
        if isinstance(timeout, Timeouts):
            return timeout
        return Timeouts(**{**self.config.timeouts.model_dump(), "whole": timeout})

    def _breaker_changed(self, endpoint: str, old: BreakerState, new: BreakerState) -> None:
        self.observers.breaker_changed(endpoint, old, new)


def _is_shorter(seconds: float | None, usual: float | None) -> bool:
    return seconds is not None and (usual is None or seconds < usual)
