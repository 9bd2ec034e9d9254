"""The results of a batch, and how they become records of the results file and back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from vllm_operator.client.answers import (
    chat_response,
    embedding_response,
    rerank_response,
    score_response,
    text_response,
)
from vllm_operator.client.batch.errors import BatchFileError, EarlierFailure
from vllm_operator.client.batch.records import Record
from vllm_operator.client.batch.requests import CHAT_URL, COMPLETIONS_URL, EMBEDDINGS_URL
from vllm_operator.client.config import Timeouts
from vllm_operator.client.errors import InvalidRequest, ServerAnswer, VLLMClientError
from vllm_operator.client.executor import Call
from vllm_operator.client.hooks import Operation, RequestInfo
from vllm_operator.client.responses import (
    CompletionResponse,
    EmbeddingResponse,
    RerankResponse,
    ScoreResponse,
    Usage,
)

BatchResponse = CompletionResponse | EmbeddingResponse | RerankResponse | ScoreResponse
Parser = Callable[[dict[str, Any], Call], BatchResponse]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The outcome of one request of a batch."""

    position: int
    """Place of the request in the input, from 0."""
    custom_id: str | None
    outcome: BatchResponse | Exception
    """The answer, or the error as a value."""
    resumed: bool = False
    """The outcome comes from an earlier run: nothing was sent."""

    @property
    def ok(self) -> bool:
        """True when there is an answer."""
        return not isinstance(self.outcome, Exception)

    @property
    def error(self) -> Exception | None:
        """The error; None when there is an answer."""
        return self.outcome if isinstance(self.outcome, Exception) else None

    @property
    def response(self) -> BatchResponse:
        """The answer.

        Raises:
            Exception: the error, when there is no answer.
        """
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The answer of a server: its JSON and its typed form."""

    body: dict[str, Any]
    response: BatchResponse

    @property
    def usage(self) -> Usage | None:
        """Tokens, as the server counted them."""
        return self.response.usage


def operation_of(url: str) -> tuple[Operation, Parser]:
    """Return the operation that a URL stands for, and the parser of its answers."""
    if url == CHAT_URL:
        return "chat", chat_response
    if url == COMPLETIONS_URL:
        return "completions", text_response
    if url == EMBEDDINGS_URL:
        return "embeddings", embedding_response
    return ("rerank", rerank_response) if url.endswith("rerank") else ("score", score_response)


def tokens_of(outcome: object) -> int:
    """Return the generated tokens of an answer, those of the prompt where nothing is generated, 0 when unknown."""
    usage = getattr(outcome, "usage", None)
    return 0 if usage is None else (usage.completion_tokens or usage.prompt_tokens)


def answer_record(key: str, fingerprint: bytes, answer: BatchAnswer) -> Record:
    """Return the record of an answer."""
    response = answer.response
    details: dict[str, Any] = {"latency": response.latency}
    if isinstance(response, CompletionResponse):
        details |= {"attempts": response.attempts, "endpoint": response.endpoint}
    return Record(key, fingerprint, True, 200, answer.body, details=details)


def failure_record(key: str, fingerprint: bytes, error: Exception) -> Record:
    """Return the record of an error. It is final when it lies in the request."""
    answer = error.answer if isinstance(error, VLLMClientError) else None
    body = _json_of(answer)
    return Record(
        key,
        fingerprint,
        is_final=isinstance(error, InvalidRequest),
        status=answer.status if answer is not None and body is not None else None,
        body=body,
        # A message may quote what is no text.
        error={"code": type(error).__name__, "message": str(error).encode(errors="replace").decode()},
    )


def outcome_of(record: Record, url: str) -> BatchResponse | Exception:
    """Return the outcome that a record of an earlier run holds.

    Raises:
        BatchFileError: the record holds no such answer.
    """
    if record.status != 200 or record.body is None:
        error = record.error or {}
        return EarlierFailure(str(error.get("message", "no message")), code=str(error.get("code", "")))
    operation, parse = operation_of(url)
    latency = _number(record.details.get("latency"))
    call = Call(
        RequestInfo(operation, "", False, time.monotonic() - latency),
        Timeouts(),
        deadline=None,
        attempts=int(_number(record.details.get("attempts"), 1)),
        endpoint=str(record.details.get("endpoint", "")),
    )
    try:
        return parse(record.body, call).model_copy(update={"latency": latency})
    except (KeyError, TypeError, ValueError) as error:
        raise BatchFileError(
            f"the results file holds no answer of {url} for {record.custom_id!r}: remove that line, and start again"
        ) from error


def _json_of(answer: ServerAnswer | None) -> dict[str, Any] | None:
    """Return the JSON object of an HTTP answer, or None."""
    try:
        value = orjson.loads(answer.body) if answer is not None else None
        orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        # JSON may be read with more levels than it can be written with.
        return None
    return value if isinstance(value, dict) else None


def _number(value: object, default: float = 0.0) -> float:
    """Return a figure of a record."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if is_number else default  # type: ignore[arg-type]
