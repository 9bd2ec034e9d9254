"""Errors from what a server answers: the bodies of vLLM and of what may stand in front of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from vllm_operator.client.errors import (
    AuthenticationFailed,
    EngineDead,
    InvalidRequest,
    InvalidResponse,
    ModelNotFound,
    NotSupported,
    RateLimitExceeded,
    ServerAnswer,
    ServerFailed,
    ServerOverloaded,
    TokenLimitExceeded,
    VLLMClientError,
)
from vllm_operator.client.retry import retry_after_seconds

MAX_ERROR_BYTES = 64 * 1024
"""Bytes of the body of an error that are parsed and kept."""
MAX_MESSAGE_CHARACTERS = 2000
"""Characters of a server's message that are shown."""

_NUMBER = r"([\d,]{1,12})"
_CONTEXT = re.compile(
    rf"(?:maximum context length (?:is |of )(?:only )?|context length is only |max_model_len[= (]|"
    rf"maximum model length of |maximum context length \(){_NUMBER}",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    rf"(?:(?:request has|resulted in|passed|contains at least|prompt contains) {_NUMBER} (?:input )?tokens|"
    rf"{_NUMBER} in the messages|\(length {_NUMBER}\)|[Ii]nput length \({_NUMBER}\)|{_NUMBER} (?:input|prompt) tokens)"
)
_REQUESTED = re.compile(
    rf"(?:max_tokens[= ]{_NUMBER}|max_completion_tokens[= ]{_NUMBER}|too large: {_NUMBER}|{_NUMBER} in the completion|"
    rf"requested {_NUMBER} output tokens)"
)
_TOO_LONG = re.compile(
    r"maximum context length|max_model_len|maximum model length|context length is only|"
    r"longer than the (?:maximum )?model|maximum input length|max_total_tokens",
    re.IGNORECASE,
)
_DEAD = re.compile(
    r"EngineCore (?:encountered|failed|died)|engine (?:is|has) (?:dead|died|died)|EngineDeadError|Engine core",
    re.IGNORECASE,
)


def error_from_answer(
    status: int, headers: Mapping[str, str], body: bytes, endpoint: str, path: str = ""
) -> VLLMClientError:
    """Return the error for an HTTP answer that is no success."""
    kept = body[:MAX_ERROR_BYTES]
    fields = _error_fields(kept)
    answer = ServerAnswer(status, tuple(headers.items()), kept)
    message = _message(fields, kept)
    error = _error_for(status, fields, message, f"{endpoint}{path} answers {status}: {message}", headers)
    error.endpoint = endpoint
    error.retry_after = retry_after_seconds(headers.get("Retry-After"))
    error.answer = answer
    return error


def error_from_event(event: Mapping[str, Any], endpoint: str) -> VLLMClientError:
    """Return the error for an error event within a stream."""
    inner = event.get("error", event)
    fields: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {"message": str(inner)}
    code = fields.get("code")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    message = _message(fields, b"")
    error = _error_for(status, fields, message, f"{endpoint} reports an error within the stream: {message}", {})
    error.endpoint = endpoint
    return error


def _error_for(
    status: int, fields: Mapping[str, Any], message: str, text: str, headers: Mapping[str, str]
) -> VLLMClientError:
    """Return the error of the class that a status and a message ask for."""
    match status:
        case 400 | 413 | 422:
            return _invalid_request(fields, message, text)
        case 401 | 403:
            return AuthenticationFailed(f"{text}; set api_key, api_key_file or VLLM_API_KEY")
        case 404:
            return _not_found(fields, message, text)
        case 405 | 501:
            return NotSupported(text)
        case 429:
            return RateLimitExceeded(text)
        case 502 | 503 | 504:
            return EngineDead(text) if _DEAD.search(message) else ServerOverloaded(text)
        case _ if status >= 500:
            return EngineDead(text) if _DEAD.search(message) else ServerFailed(text)
        case _ if 300 <= status < 400:
            target = headers.get("Location", "elsewhere")[:200]
            return InvalidResponse(f"{text}; it redirects to {target!r}, which is not followed: use the right base_url")
        case _ if status >= 400:
            return InvalidRequest(text)
    return InvalidResponse(text)


def _not_found(fields: Mapping[str, Any], message: str, text: str) -> VLLMClientError:
    """Return the error for a 404: vLLM names the model, or knows no such path."""
    if fields.get("param") == "model" or re.search(r"\bmodel\b.{0,300}\b(?:not exist|not found)", message, re.DOTALL):
        return ModelNotFound(text)
    return NotSupported(text)


def _invalid_request(fields: Mapping[str, Any], message: str, text: str) -> InvalidRequest:
    """Return the error for a refused request, with the numbers of a context that is too small."""
    param = fields.get("param")
    error: InvalidRequest
    if _TOO_LONG.search(message):
        limit = TokenLimitExceeded(text)
        limit.max_model_len = _number(_CONTEXT.search(message))
        limit.prompt_tokens = _number(_PROMPT.search(message))
        limit.requested_tokens = _number(_REQUESTED.search(message))
        error = limit
    elif re.search(r"does not support|not supported by this model", message):
        error = NotSupported(text)
    else:
        error = InvalidRequest(text)
    error.param = param if isinstance(param, str) else None
    return error


def _number(match: re.Match[str] | None) -> int | None:
    """Return the number that a pattern found."""
    found: Iterable[str | None] = match.groups() if match else ()
    text = next((group for group in found if group), "").replace(",", "")
    return int(text) if text.isdigit() else None


def _error_fields(body: bytes) -> Mapping[str, Any]:
    """Return message, type, param and code, as vLLM wraps them since 0.10, as it did before, or as FastAPI does."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(value, dict):
        return {}
    inner = value.get("error", value)
    if isinstance(inner, str):
        return {**value, "message": inner}
    if not isinstance(inner, dict):
        return {}
    if "message" not in inner and "detail" in inner:
        return {"message": str(inner["detail"])}
    return inner


def _message(fields: Mapping[str, Any], body: bytes) -> str:
    """Return the server's message, or the start of a body that has none, without control characters."""
    message = fields.get("message")
    text = message if isinstance(message, str) and message else body[:400].decode(errors="replace")
    printable = "".join(c if c.isprintable() or c == "\n" else " " for c in text[:MAX_MESSAGE_CHARACTERS])
    return printable.strip() or "without a message"
