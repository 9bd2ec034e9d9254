"""Test which Events are kept in memory, and how long their messages are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.helpers.fakes import FakeClock
from vllm_operator.kube.event_correlator import (
    MAX_EVENTS_OF_SERVER,
    MAX_MESSAGE_BYTES,
    MAX_TOKENS,
    EventCorrelator,
    truncate,
)
from vllm_operator.kube.token_bucket import TokenBucket

START = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def correlator_of(server: str = "mistral", of_namespace: TokenBucket | None = None) -> EventCorrelator:
    clock = FakeClock()
    return EventCorrelator("llm", server, "u1", clock, of_namespace or TokenBucket(1000, 1.0, clock))


def test_written_event_is_forgotten_when_it_expires() -> None:
    correlator, start = correlator_of(), START
    for hour in range(48):
        correlator.observe("Warning", f"Reason{hour}", "words", start + timedelta(hours=2 * hour)).pending = 0
    correlator.observe("Warning", "Last", "words", start + timedelta(days=5))

    assert [event.reason for event in correlator.pending()] == ["Last"]
    assert len(correlator._events) == 1


def test_message_is_truncated_by_bytes() -> None:
    assert truncate("short") == "short"
    long = truncate("ä" * 2000)
    assert len(long.encode()) <= MAX_MESSAGE_BYTES
    assert long.endswith("…")


def test_long_message_ends_with_a_mark() -> None:
    for length in (MAX_MESSAGE_BYTES + 1, 10**6):
        event = correlator_of().observe("Warning", "Reason", "x" * length, START)
        assert len(event.message.encode()) <= MAX_MESSAGE_BYTES
        assert event.message.endswith("…")


def test_events_of_one_server_are_bounded() -> None:
    correlator = correlator_of()
    for number in range(10 * MAX_EVENTS_OF_SERVER):
        correlator.observe("Warning", f"Reason{number}", "words", START)
    assert len(correlator.pending()) == MAX_EVENTS_OF_SERVER


def test_writes_for_all_servers_of_a_namespace_share_a_limit() -> None:
    shared = TokenBucket(3, 1.0, FakeClock())
    first, second = correlator_of("first", shared), correlator_of("second", shared)
    assert [first.take_token(), first.take_token(), second.take_token(), second.take_token()] == [True] * 3 + [False]


def test_server_without_tokens_takes_none_of_its_namespace() -> None:
    shared = TokenBucket(MAX_TOKENS + 1, 1.0, FakeClock())
    correlator = correlator_of(of_namespace=shared)
    assert sum(correlator.take_token() for _ in range(10 * MAX_TOKENS)) == MAX_TOKENS
    assert shared.has_token()
