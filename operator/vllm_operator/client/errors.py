"""The errors of a client. Each says whether another attempt can help."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Phase = Literal["connect", "first_token", "between_tokens", "whole"]
"""Names of the timeouts of a request."""


class RetryAdvice(Enum):
    """Where another attempt can help."""

    NEVER = "never"
    """The same request fails again: change it, or the server."""
    LATER = "later"
    """The same endpoint may answer after a delay."""
    ELSEWHERE = "elsewhere"
    """Another replica may answer at once: another endpoint, or a new connection to a load balancer."""


@dataclass(frozen=True)
class ServerAnswer:
    """The HTTP answer behind an error."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


class VLLMClientError(Exception):
    """Base of all errors of the client.

    Attributes:
        endpoint: base URL that the error came from; empty when no endpoint took part.
        status_code: HTTP status of the answer; None without an answer.
        retry_after: seconds after which the server asks to try again; None when it did not say.
        answer: the HTTP answer; None without one.
        attempts: attempts that were made in all.
    """

    advice: RetryAdvice = RetryAdvice.NEVER

    def __init__(
        self,
        message: str,
        *,
        endpoint: str = "",
        retry_after: float | None = None,
        answer: ServerAnswer | None = None,
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.retry_after = retry_after
        self.answer = answer
        self.attempts = 1

    @property
    def retryable(self) -> bool:
        """True if another attempt can help."""
        return self.advice is not RetryAdvice.NEVER

    @property
    def status_code(self) -> int | None:
        """HTTP status of the answer; None without an answer."""
        return self.answer.status if self.answer else None


class InvalidRequest(VLLMClientError):
    """The server refuses the request (400, 413, 422): change it.

    Attributes:
        param: name of the field that the server objects to; None when it did not say.
    """

    param: str | None = None


class TokenLimitExceeded(InvalidRequest):
    """Prompt and answer do not fit into the model's context: shorten the prompt, or lower `max_tokens`.

    Attributes:
        max_model_len: tokens that the model holds; None when the server did not say.
        prompt_tokens: tokens of the prompt; None when the server did not say.
        requested_tokens: tokens to generate that were asked for; None when the server did not say.
    """

    max_model_len: int | None = None
    prompt_tokens: int | None = None
    requested_tokens: int | None = None


class NotSupported(InvalidRequest):
    """The server does not offer this operation (404, 405, 501), such as embeddings of a model that generates text."""


class ModelNotFound(VLLMClientError):
    """The server does not serve this model (404): use a name that `models()` lists."""


class AuthenticationFailed(VLLMClientError):
    """The API key is missing, wrong, or not allowed to do this (401, 403)."""


class RateLimitExceeded(VLLMClientError):
    """Too many requests (429): try again after `retry_after` seconds."""

    advice = RetryAdvice.LATER


class ServerOverloaded(VLLMClientError):
    """The server, or what stands in front of it, takes no more requests now (503, 502, 504)."""

    advice = RetryAdvice.ELSEWHERE


class ModelNotReady(VLLMClientError):
    """The server is not ready to serve: it loads its model, or nothing listens at its address."""

    advice = RetryAdvice.ELSEWHERE


class ServerFailed(VLLMClientError):
    """The server failed (500). A vLLM that drains answers new requests like this: another replica may answer."""

    advice = RetryAdvice.ELSEWHERE


class EngineDead(ServerFailed):
    """The engine of this server has died; the server ends and must start again."""


class ConnectionFailed(VLLMClientError):
    """The connection could not be opened, or it broke before the answer was complete."""

    advice = RetryAdvice.ELSEWHERE


class ConnectionRefused(ConnectionFailed, ModelNotReady):
    """Nothing listens at the address. vLLM opens its port when the model is loaded."""


class RequestTimeout(VLLMClientError, TimeoutError):
    """A timeout ended the request.

    Attributes:
        phase: the timeout of `Timeouts` that was reached.
        seconds: its length.
    """

    advice = RetryAdvice.ELSEWHERE

    def __init__(
        self,
        message: str,
        *,
        phase: Phase = "whole",
        seconds: float = 0.0,
        endpoint: str = "",
    ) -> None:
        super().__init__(message, endpoint=endpoint)
        self.phase: Phase = phase
        self.seconds = seconds

    @property
    def retryable(self) -> bool:
        """True if another attempt can help: not when the time for all attempts is over."""
        return self.phase != "whole"


class InvalidResponse(VLLMClientError):
    """The answer is not what a vLLM answers: no JSON, no UTF-8, or fields are missing. Check the base URL."""


class ResponseTooLarge(InvalidResponse):
    """The answer is larger than `Limits` allows."""


class StreamInterrupted(VLLMClientError):
    """A stream ended before its answer was complete.

    Attributes:
        partial_content: the text of the first choice so far. It is no answer.
    """

    advice = RetryAdvice.ELSEWHERE

    def __init__(self, message: str, *, endpoint: str = "", partial_content: str = "") -> None:
        super().__init__(message, endpoint=endpoint)
        self.partial_content = partial_content


class StreamTimeout(StreamInterrupted, RequestTimeout):
    """A stream stopped: no token within `timeouts.between_tokens`, or no end within `timeouts.whole`."""

    def __init__(
        self,
        message: str,
        *,
        phase: Phase = "between_tokens",
        seconds: float = 0.0,
        endpoint: str = "",
        partial_content: str = "",
    ) -> None:
        VLLMClientError.__init__(self, message, endpoint=endpoint)
        self.phase = phase
        self.seconds = seconds
        self.partial_content = partial_content


class CircuitOpen(VLLMClientError):
    """The circuit breakers of all endpoints are open: nothing was sent. `retry_after` says when one is tested."""

    advice = RetryAdvice.LATER


class ClientClosed(VLLMClientError):
    """The client is closed."""


class DiscoveryFailed(VLLMClientError):
    """A VLLMServer cannot be found or reached through its cluster; the message has the cause and what to do."""
