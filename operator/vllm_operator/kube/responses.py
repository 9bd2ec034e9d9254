"""Read the responses of the API server within bounds. Their size, and the text of an error, may be a tenant's."""

from __future__ import annotations

import aiohttp
import msgspec
import orjson

from vllm_operator.errors import ApiError, ResponseTooLargeError
from vllm_operator.kube.raw_objects import Raw

MAX_ERROR_CHARACTERS = 4096
"""Characters of an error's message. It quotes keys and values of the object, which can be as large as the object."""
MAX_DETAILS_BYTES = 64 * 1024
"""Bytes of the details of an error; larger ones are not parsed."""
MAX_CAUSES = 100
MAX_REASON_CHARACTERS = 128
CUT_MARK = " […] "


class _FailureStatus(msgspec.Struct):
    """The Status object of a failed request, as far as it is read."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: msgspec.Raw = msgspec.Raw(b"null")


_FAILURE_STATUS = msgspec.json.Decoder(_FailureStatus)


async def read_body(response: aiohttp.ClientResponse, max_bytes: int, *, may_cut: bool = False) -> bytes:
    """Return the body of a response; the connection is closed where it is longer than allowed.

    Args:
        response: the response.
        max_bytes: bytes at most.
        may_cut: return the beginning of a longer body.

    Raises:
        ResponseTooLargeError: the body is longer.
    """
    if not may_cut and (response.content_length or 0) > max_bytes:
        raise ResponseTooLargeError(max_bytes)
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            if not may_cut:
                raise ResponseTooLargeError(max_bytes)
            break
    return b"".join(pieces)[:max_bytes]


def error_of_response(status: int, raw: bytes, retry_after: str | None) -> ApiError:
    """Return the error of a response, from its Status object where the body holds one."""
    reason, message, causes = "Unknown", raw[:1024].decode(errors="replace"), frozenset[str]()
    try:
        body = _FAILURE_STATUS.decode(raw)
        reason, message = body.reason or reason, body.message or message
        causes = _causes(body.details)
    except (msgspec.DecodeError, RecursionError):
        pass
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, reason[:MAX_REASON_CHARACTERS], shorten_message(message), seconds, causes)


def error_of_status(raw: Raw) -> ApiError:
    """Return the error of a Status object that came as a watch event."""
    try:
        status = _FAILURE_STATUS.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        status = _FailureStatus()
    return ApiError(
        status.code or 500,
        (status.reason or "Unknown")[:MAX_REASON_CHARACTERS],
        shorten_message(status.message or "no message"),
    )


def shorten_message(message: str) -> str:
    """Return a message in at most MAX_ERROR_CHARACTERS: its end says what is wrong with the quoted value."""
    if len(message) <= MAX_ERROR_CHARACTERS:
        return message
    tail = MAX_ERROR_CHARACTERS // 4
    return message[: MAX_ERROR_CHARACTERS - tail - len(CUT_MARK)] + CUT_MARK + message[-tail:]


def _causes(details: msgspec.Raw) -> frozenset[str]:
    """Return the reasons in `details.causes`."""
    if len(memoryview(details)) > MAX_DETAILS_BYTES:
        return frozenset()
    try:
        causes = (orjson.loads(memoryview(details)) or {}).get("causes") or ()
        return frozenset(str(cause.get("reason"))[:MAX_REASON_CHARACTERS] for cause in causes[:MAX_CAUSES])
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return frozenset()
