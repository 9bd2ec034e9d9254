from __future__ import annotations

from itertools import islice

import pytest

from tools.bench.stand_in_replicas import MODEL
from tools.hostile.answers import ANSWERS, BODY_BYTES, good, http
from tools.hostile.texts import LINES, LOGS, TERMINATION_BYTES, termination_message

PATHS = ("/health", "/v1/models", "/version", "/metrics", "/v1/completions")
KEPT_BYTES = 256 * 1024
"""Bytes of a log that the operator reads."""


def sent(name: str, path: str, number: int = 1, parts: int = 5) -> bytes:
    return b"".join(part for part in islice(ANSWERS[name](path, number), parts) if isinstance(part, bytes))


def test_answer_has_its_length() -> None:
    assert http(b"abc", headers="x: y\r\n") == b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 3\r\n\r\nabc"


def test_good_replica_serves_its_model() -> None:
    assert MODEL.encode() in good("/v1/models")
    assert good("/health").startswith(b"HTTP/1.1 200 ")
    assert good("/is_sleeping").startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("path", PATHS)
def test_every_class_answers_every_path(name: str, path: str) -> None:
    assert list(islice(ANSWERS[name](path, 7), 3))


@pytest.mark.parametrize("name", ["c1", "c2", "m2", "deep-json", "many-models", "zip-bomb"])
def test_replicas_that_are_hostile_in_one_answer_are_healthy(name: str) -> None:
    assert sent(name, "/health").startswith(good("/health"))


@pytest.mark.parametrize("name", ["c1", "m2"])
def test_large_metrics_have_the_size_of_the_fault(name: str) -> None:
    assert BODY_BYTES / 2 < len(sent(name, "/metrics")) < BODY_BYTES + 200


def test_endless_answers_do_not_end() -> None:
    assert len(list(islice(ANSWERS["h1"]("/health", 1), 1000))) == 1000
    assert len(list(islice(ANSWERS["c2"]("/health", 1), 1000))) == 1000


def test_stalled_engine_answers_all_but_completions() -> None:
    assert isinstance(next(ANSWERS["stalled"]("/v1/completions", 1)), float)
    assert sent("stalled", "/health") == good("/health")
    assert sent("stalled", "/metrics", 1) == sent("stalled", "/metrics", 2)


def test_drip_sends_the_whole_answer_in_chunks() -> None:
    whole = b"".join(part for part in ANSWERS["drip"]("/version", 1) if isinstance(part, bytes))

    assert whole.count(b"1;x=y\r\n") == len(b'{"version":"0.32.0"}')
    assert whole.endswith(b"0\r\n\r\n")


def test_flapping_replica_has_another_text_each_time() -> None:
    assert sent("flapping", "/health", 1) != sent("flapping", "/health", 3)
    assert sent("flapping", "/health", 2) == good("/health")


def test_termination_messages_have_the_full_size_and_differ() -> None:
    messages = [termination_message(number) for number in range(1, 40)]

    assert len(set(messages)) == len(messages)
    assert all(TERMINATION_BYTES - 4 < len(message.encode()) <= TERMINATION_BYTES for message in messages)


def test_hostile_logs_fill_what_is_read() -> None:
    assert all(len(log) > KEPT_BYTES and log.count(b"\n") == LINES for log in LOGS[1:])
    assert b"CUDA error" in LOGS[0]
