"""Responses are read up to a limit, and the text of errors is cut before anything reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest

from vllm_operator.errors import ApiError, ResponseTooLargeError
from vllm_operator.kube.responses import (
    MAX_ERROR_CHARACTERS,
    MAX_REASON_CHARACTERS,
    error_of_response,
    error_of_status,
    read_body,
)


class FakeResponse:
    """A response in pieces of a hundred bytes; it counts those that are read."""

    def __init__(self, pieces: int, content_length: int | None = None) -> None:
        self.content = self
        self.content_length = content_length
        self.pieces = pieces
        self.read = 0

    async def iter_any(self) -> AsyncIterator[bytes]:
        for _ in range(self.pieces):
            self.read += 1
            yield b"x" * 100


async def read(response: FakeResponse, limit: int, *, may_cut: bool = False) -> bytes:
    return await read_body(response, limit, may_cut=may_cut)  # type: ignore[arg-type]


async def test_body_of_the_longest_length_is_returned() -> None:
    assert await read(FakeResponse(10), 1000) == b"x" * 1000


@pytest.mark.parametrize(("content_length", "pieces"), [(None, 11), (10**9, 0)], ids=["unknown length", "known length"])
async def test_longer_body_is_refused_and_not_read_to_its_end(content_length: int | None, pieces: int) -> None:
    response = FakeResponse(10**6, content_length)
    with pytest.raises(ResponseTooLargeError, match="more than 1,000 bytes"):
        await read(response, 1000)
    assert response.read == pieces


async def test_longer_text_is_cut() -> None:
    response = FakeResponse(10**6, 10**8)
    assert await read(response, 1050, may_cut=True) == b"x" * 1050
    assert response.read == 11


def failure(message: Any, **more: Any) -> bytes:
    return orjson.dumps({"kind": "Status", "code": 422, "reason": "Invalid", "message": message, **more})


def test_long_message_keeps_its_beginning_and_its_end() -> None:
    error = error_of_response(422, failure('spec.x: Invalid value: "' + "spec." * 200_000 + '": must be short'), None)
    assert len(error.message) == MAX_ERROR_CHARACTERS
    assert error.message.startswith('spec.x: Invalid value: "spec.')
    assert error.message.endswith('": must be short')
    assert len(str(error)) < MAX_ERROR_CHARACTERS + 100


def test_short_message_stays() -> None:
    error = error_of_response(422, failure("must be short"), "7")
    assert (error.message, error.reason, error.retry_after) == ("must be short", "Invalid", 7.0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>" + b"x" * 10_000_000,
        b"[" * 100_000,
        failure(7),
        failure(None),
        b'{"message":"\xff","reason":"R"}',
        b'{"details":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["empty", "page", "deep", "number", "null", "invalid UTF-8", "deep details"],
)
def test_body_that_is_no_status_is_quoted_in_short(raw: bytes) -> None:
    error = error_of_response(500, raw, None)
    assert error.status == 500
    assert len(error.message) <= MAX_ERROR_CHARACTERS
    assert error.causes == frozenset()


@pytest.mark.parametrize(
    "details",
    [
        {"causes": [{"reason": "x" * 10**6}] * 3},
        {"causes": [{"message": "x" * 100, "reason": str(number)} for number in range(10**5)]},
        {"causes": [1, 2]},
        {"causes": {"reason": "x"}},
        [],
        "x",
    ],
    ids=["long reason", "many causes", "numbers", "no list", "list", "string"],
)
def test_hostile_details_are_bounded(details: Any) -> None:
    causes = error_of_response(422, failure("m", details=details), None).causes
    assert sum(map(len, causes)) <= 100 * MAX_REASON_CHARACTERS


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ({"code": 410, "reason": "Expired", "message": "too old"}, 410, "too old"),
        ({}, 500, "no message"),
        ({"code": "x"}, 500, "no message"),
    ],
)
def test_error_of_a_watch_event(status: Mapping[str, Any], code: int, message: str) -> None:
    error = error_of_status(orjson.dumps(status))
    assert isinstance(error, ApiError)
    assert (error.status, error.message) == (code, message)
