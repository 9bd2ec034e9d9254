"""Events: what repeats is counted, what floods waits, and nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.fakes import FakeApiClient, FakeClock
from vllm_operator.errors import ApiError
from vllm_operator.kube.event_correlator import (
    BURST,
    COMBINED,
    NOTE_BYTES,
    REFILL_SECONDS,
    SIMILAR,
    EventCorrelator,
    cut,
)
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")
METADATA = {"namespace": "llm", "name": "mistral", "uid": "u1"}


class Night:
    """A server in trouble; every occurrence comes a second after the one before."""

    def __init__(self, api: FakeApiClient | None = None) -> None:
        self.api, self.clock = api or FakeApiClient(), FakeClock()
        self.now = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
        self.events = EventRecorder(self.api, self.clock)  # type: ignore[arg-type]

    async def happens(self, reason: str, note: str = "words", **changes: Any) -> None:
        self.now += timedelta(seconds=1)
        await self.events.record(KEY, {**METADATA, **changes}, "Warning", reason, note, self.now)

    @property
    def counts(self) -> dict[str, int]:
        """`reason: message` -> count, as the API server has it."""
        return {f"{held['reason']}: {held['message']}": held["count"] for held in self.held}

    @property
    def held(self) -> list[dict[str, Any]]:
        return [held for (kind, _), held in self.api.objects.items() if kind == "Event"]


async def test_same_again_is_counted_in_one_event() -> None:
    night = Night()
    for _ in range(3):
        await night.happens("Unavailable")
    (event,) = night.held

    assert event["count"] == 3
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-03-02T03:00:01Z", "2026-03-02T03:00:03Z")
    assert event["involvedObject"]["uid"] == "u1"


async def test_another_note_another_reason_and_another_server_are_other_events() -> None:
    night = Night()
    await night.happens("Unavailable", "a")
    await night.happens("Unavailable", "b")
    await night.happens("Available", "b")
    await night.happens("Available", "b", uid="u2")

    assert len(night.held) == 4


async def test_same_cause_in_the_next_pod_is_the_same_event() -> None:
    night = Night()
    for pod in ("rolls-7778486cf4-rfwwm", "rolls-7778486cf4-z2j8t", "rolls-5f9c6d7b8-d4hcn"):
        await night.happens("RolloutStuck", f"{pod}: not found; check image")
    await night.happens("RolloutStuck", "rolls-7778486cf4-rfwwm: boom")

    assert night.counts == {
        "RolloutStuck: rolls-5f9c6d7b8-d4hcn: not found; check image": 3,
        "RolloutStuck: rolls-7778486cf4-rfwwm: boom": 1,
    }


async def test_restarted_operator_counts_on() -> None:
    before = Night()
    await before.happens("Unavailable")
    await before.happens("Unavailable")
    after = Night(before.api)
    await after.happens("Unavailable")
    await after.happens("Unavailable")

    assert after.counts == {"Unavailable: words": 4}


async def test_what_is_too_much_waits_and_is_counted_later() -> None:
    night = Night()
    for _ in range(BURST + 10):
        await night.happens("Unavailable")
    assert night.counts == {"Unavailable: words": BURST}

    night.clock.now += REFILL_SECONDS
    await night.happens("Unavailable")
    assert night.counts == {"Unavailable: words": BURST + 11}


async def test_end_of_the_operator_loses_no_count() -> None:
    night = Night()
    for _ in range(60):
        await night.happens("Unavailable", "no replica serves")
        await night.happens("Available", "1 replica serving")
    await night.events.finish()

    assert night.counts == {"Unavailable: no replica serves": 60, "Available: 1 replica serving": 60}
    assert len(night.api.writes) <= BURST + 2


async def test_noisy_server_takes_nothing_from_another() -> None:
    night = Night()
    for _ in range(BURST + 10):
        await night.happens("Unavailable")
    await night.events.record(
        Key("llm", "quiet"), {**METADATA, "name": "quiet", "uid": "u2"}, "Normal", "Available", "serves", night.now
    )

    assert night.counts["Available: serves"] == 1


async def test_many_notes_of_one_reason_share_an_event() -> None:
    night = Night()
    for index in range(SIMILAR + 5):
        await night.happens("ExitCode1", f"mistral-{index}: exit code 1")
    combined = [event for event in night.held if event["message"].startswith(COMBINED)]

    assert len(night.held) == SIMILAR + 1
    assert [event["count"] for event in combined] == [5]
    assert combined[0]["message"] == f"{COMBINED}mistral-{SIMILAR + 4}: exit code 1"


async def test_event_that_expired_is_made_anew() -> None:
    night = Night()
    await night.happens("Unavailable")
    night.api.objects.clear()
    await night.happens("Unavailable")

    assert night.counts == {"Unavailable: words": 1}


async def test_what_could_not_be_written_is_counted_with_the_next() -> None:
    night = Night()
    night.api.errors["create", "Event"] = ApiError(503, "ServiceUnavailable", "later")
    await night.happens("Unavailable")
    del night.api.errors["create", "Event"]
    await night.happens("Unavailable")

    assert night.counts == {"Unavailable: words": 2}


async def test_server_that_is_gone_leaves_nothing_behind() -> None:
    night = Night()
    for _ in range(BURST + 1):
        await night.happens("Unavailable")
    written = len(night.api.writes)
    night.events.forget(KEY)
    await night.events.finish()

    assert len(night.api.writes) == written


def test_ledger_forgets_what_is_older_than_its_events() -> None:
    ledger = EventCorrelator("llm", "mistral", "u1", FakeClock())
    start = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
    for hour in range(48):
        ledger.note("Warning", f"Reason{hour}", "words", start + timedelta(hours=2 * hour)).waiting = 0
    ledger.note("Warning", "Last", "words", start + timedelta(days=5))

    assert [occurrence.reason for occurrence in ledger.waiting()] == ["Last"]
    assert len(ledger._known) == 1


def test_notes_are_cut_by_bytes() -> None:
    assert cut("short") == "short"
    long = cut("ä" * 2000)
    assert len(long.encode()) <= NOTE_BYTES
    assert long.endswith("…")
