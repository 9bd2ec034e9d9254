"""Read answers, whole and byte by byte, and cut those without end."""

from __future__ import annotations

import itertools

import pytest

from vllm_operator.probing.http_answer import (
    HEAD_LIMIT,
    MAX_INTERIM,
    OVERHEAD_LIMIT,
    BodyTooLongError,
    HttpAnswer,
    NotHttpError,
)

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def read(data: bytes, size: int | None = None, limit: int = LIMIT) -> HttpAnswer:
    """Feed `data` in parts of `size` bytes until the answer is complete."""
    answer = HttpAnswer(limit)
    for at in range(0, len(data), size or len(data)):
        answer.feed(data[at : at + size] if size else data)
        if answer.is_complete:
            break
    return answer


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
@pytest.mark.parametrize(
    ("data", "body"),
    [
        (OK + b"content-length: 2\r\n\r\nok", b"ok"),
        (OK + b"Content-Length:  0 \r\nServer: uvicorn\r\n\r\n", b""),
        (CHUNKED + b"2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n", b"ok!"),
        (CHUNKED + b"A\r\n0123456789\r\n0\r\nx: y\r\n\r\n", b"0123456789"),
        (CHUNKED + b"000002\r\nok\r\n000\r\n\r\n", b"ok"),
        (INTERIM + b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", b"ok"),
    ],
)
def test_answer_is_read_in_parts_of_any_size(data: bytes, body: bytes, size: int | None) -> None:
    answer = read(data, size)
    assert (answer.status, answer.body, answer.is_complete, answer.is_reusable) == (200, body, True, True)


@pytest.mark.parametrize("head", [OK + b"connection: close\r\n", b"HTTP/1.0 200 OK\r\n", OK + b"Connection: Close\r\n"])
def test_connection_that_is_to_be_closed_is_not_reused(head: bytes) -> None:
    assert not read(head + b"content-length: 2\r\n\r\nok").is_reusable


def test_end_of_the_connection_ends_a_body_without_length() -> None:
    answer = read(OK + b"\r\nok")
    assert not answer.is_complete
    answer.feed_end()
    assert (answer.body, answer.is_complete, answer.is_reusable) == (b"ok", True, False)


@pytest.mark.parametrize("cut", [b"", OK, OK + b"content-length: 9\r\n\r\nok", CHUNKED + b"9\r\nok"])
def test_end_of_the_connection_completes_no_other_answer(cut: bytes) -> None:
    answer = HttpAnswer(LIMIT)
    answer.feed(cut)
    answer.feed_end()
    assert not answer.is_complete


def test_bytes_after_the_answer_forbid_another_request() -> None:
    answer = read(OK + b"content-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n")
    assert (answer.body, answer.is_reusable) == (b"ok", False)


def test_status_other_than_200_needs_no_body() -> None:
    answer = read(b"HTTP/1.1 500 Oops\r\ncontent-length: 999999999\r\n\r\nx")
    assert (answer.status, answer.is_complete, answer.is_reusable, answer.body) == (500, True, False, b"")
    assert read(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}").is_reusable
    assert read(b"HTTP/1.1 204 No Content\r\n\r\n").is_reusable


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP\r\n",
        b"\x16\x03\x01\x02",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 0x10\r\n\r\n",
        OK + b"content-length: " + b"9" * 5000 + b"\r\n\r\n",
        OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"0x2\r\nok\r\n",
        CHUNKED + b"-2\r\nok\r\n",
        CHUNKED + b"\r\nok\r\n",
        CHUNKED + b"2\r\nokay\r\n",
        CHUNKED + b"f" * 17 + b"\r\n",
    ],
)
def test_junk_is_no_http(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        read(data)


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"", INTERIM),
        (b"", b"HTTP/1.1 102 Processing\r\nx: " + b"y" * 1000 + b"\r\n\r\n"),
        (OK + b"x: ", b"y" * 100),
        (OK, b"x: y\r\n"),
        (b"HTTP/1.1 200 ", b"K" * 100),
        (CHUNKED + b"1;", b"x=y;"),
        (CHUNKED, b"0"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED, b"1;" + b"x" * 200 + b"\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"x: y\r\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_answer_without_end_is_cut_after_few_bytes(head: bytes, part: bytes, size: int) -> None:
    data = (head + part * (300_000 // len(part)))[: OVERHEAD_LIMIT * 2]
    with pytest.raises(NotHttpError):
        read(data, size, limit=10**9)


@pytest.mark.parametrize("size", [None, 100])
def test_whole_read_of_hostile_bytes_is_cut(size: int | None) -> None:
    with pytest.raises(NotHttpError):
        read(INTERIM * 100_000, size)


def test_interim_answers_are_counted() -> None:
    last = OK + b"content-length: 0\r\n\r\n"
    assert read(INTERIM * MAX_INTERIM + last).is_complete
    with pytest.raises(NotHttpError):
        read(INTERIM * (MAX_INTERIM + 1) + last)


def test_head_limit_has_room_for_proxies() -> None:
    assert read(OK + b"x: " + b"y" * (HEAD_LIMIT - 100) + b"\r\ncontent-length: 0\r\n\r\n").is_complete


@pytest.mark.parametrize(
    "data",
    [
        OK + b"content-length: 1001\r\n\r\n",
        OK + b"\r\n" + b"x" * 1001,
        CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n",
        CHUNKED + b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n" + b"x" * 501 + b"\r\n",
    ],
)
def test_body_beyond_the_limit_is_cut(data: bytes) -> None:
    with pytest.raises(BodyTooLongError):
        read(data)


def test_every_cut_of_an_answer_gives_the_same_body() -> None:
    data = INTERIM + CHUNKED + b"2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n"
    for first, second in itertools.combinations(range(1, len(data)), 2):
        answer = HttpAnswer(LIMIT)
        for part in (data[:first], data[first:second], data[second:]):
            answer.feed(part)
        assert (answer.body, answer.is_complete) == (b"okay!", True)
