"""Test which Events are kept in memory, and how long their messages are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.helpers.fakes import FakeClock
from vllm_operator.kube.event_correlator import MAX_MESSAGE_BYTES, EventCorrelator, truncate


def test_written_event_is_forgotten_when_it_expires() -> None:
    correlator = EventCorrelator("llm", "mistral", "u1", FakeClock())
    start = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
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
