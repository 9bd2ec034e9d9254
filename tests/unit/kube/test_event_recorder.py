"""Test that repetitions are counted in one Event, that writes are limited, and that no count is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.fakes import FakeApiClient, FakeClock
from vllm_operator.errors import ApiError
from vllm_operator.kube.event_correlator import (
    COMBINED_PREFIX,
    MAX_SIMILAR_EVENTS,
    MAX_TOKENS,
    REFILL_SECONDS,
)
from vllm_operator.kube.event_recorder import NAMESPACE_REFILL_SECONDS, NAMESPACE_TOKENS, EventRecorder
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")
METADATA = {"namespace": "llm", "name": "mistral", "uid": "u1"}


class Recording:
    """A recorder with a fake API server. Each occurrence comes a second after the one before."""

    def __init__(self, api: FakeApiClient | None = None) -> None:
        self.api, self.clock = api or FakeApiClient(), FakeClock()
        self.now = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
        self.recorder = EventRecorder(self.api, self.clock)  # type: ignore[arg-type]

    async def record(self, reason: str, message: str = "words", **changes: Any) -> None:
        self.now += timedelta(seconds=1)
        await self.recorder.record(KEY, {**METADATA, **changes}, "Warning", reason, message, self.now)

    @property
    def counts(self) -> dict[str, int]:
        """`reason: message` -> count, as the API server has it."""
        return {f"{held['reason']}: {held['message']}": held["count"] for held in self.held}

    @property
    def held(self) -> list[dict[str, Any]]:
        return [held for (kind, _), held in self.api.objects.items() if kind == "Event"]


async def test_same_again_is_counted_in_one_event() -> None:
    recording = Recording()
    for _ in range(3):
        await recording.record("Unavailable")
    (event,) = recording.held

    assert event["count"] == 3
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-03-02T03:00:01Z", "2026-03-02T03:00:03Z")
    assert event["involvedObject"]["uid"] == "u1"


async def test_other_message_reason_or_server_gets_another_event() -> None:
    recording = Recording()
    await recording.record("Unavailable", "a")
    await recording.record("Unavailable", "b")
    await recording.record("Available", "b")
    await recording.record("Available", "b", uid="u2")

    assert len(recording.held) == 4


async def test_same_cause_in_the_next_pod_is_the_same_event() -> None:
    recording = Recording()
    for pod in ("rolls-7778486cf4-rfwwm", "rolls-7778486cf4-z2j8t", "rolls-5f9c6d7b8-d4hcn"):
        await recording.record("RolloutStuck", f"{pod}: not found; check image")
    await recording.record("RolloutStuck", "rolls-7778486cf4-rfwwm: boom")

    assert recording.counts == {
        "RolloutStuck: rolls-5f9c6d7b8-d4hcn: not found; check image": 3,
        "RolloutStuck: rolls-7778486cf4-rfwwm: boom": 1,
    }


async def test_restarted_operator_continues_the_count() -> None:
    before = Recording()
    await before.record("Unavailable")
    await before.record("Unavailable")
    after = Recording(before.api)
    await after.record("Unavailable")
    await after.record("Unavailable")

    assert after.counts == {"Unavailable: words": 4}


async def test_occurrences_above_the_rate_limit_are_counted_later() -> None:
    recording = Recording()
    for _ in range(MAX_TOKENS + 10):
        await recording.record("Unavailable")
    assert recording.counts == {"Unavailable: words": MAX_TOKENS}

    recording.clock.now += REFILL_SECONDS
    await recording.record("Unavailable")
    assert recording.counts == {"Unavailable: words": MAX_TOKENS + 11}


async def test_flush_at_the_end_loses_no_count() -> None:
    recording = Recording()
    for _ in range(60):
        await recording.record("Unavailable", "no replica serves")
        await recording.record("Available", "1 replica serving")
    await recording.recorder.flush()

    assert recording.counts == {"Unavailable: no replica serves": 60, "Available: 1 replica serving": 60}
    assert len(recording.api.writes) <= MAX_TOKENS + 2


async def test_rate_limit_of_one_server_does_not_limit_another() -> None:
    recording = Recording()
    for _ in range(MAX_TOKENS + 10):
        await recording.record("Unavailable")
    await recording.recorder.record(
        Key("llm", "quiet"), {**METADATA, "name": "quiet", "uid": "u2"}, "Normal", "Available", "serves", recording.now
    )

    assert recording.counts["Available: serves"] == 1


async def test_many_messages_of_one_reason_share_an_event() -> None:
    recording = Recording()
    for index in range(MAX_SIMILAR_EVENTS + 5):
        await recording.record("ExitCode1", f"mistral-{index}: exit code 1")
    combined = [event for event in recording.held if event["message"].startswith(COMBINED_PREFIX)]

    assert len(recording.held) == MAX_SIMILAR_EVENTS + 1
    assert [event["count"] for event in combined] == [5]
    assert combined[0]["message"] == f"{COMBINED_PREFIX}mistral-{MAX_SIMILAR_EVENTS + 4}: exit code 1"


async def test_expired_event_is_created_again() -> None:
    recording = Recording()
    await recording.record("Unavailable")
    recording.api.objects.clear()
    await recording.record("Unavailable")

    assert recording.counts == {"Unavailable: words": 1}


async def test_failed_write_is_counted_with_the_next_one() -> None:
    recording = Recording()
    recording.api.errors["create", "Event"] = ApiError(503, "ServiceUnavailable", "later")
    await recording.record("Unavailable")
    del recording.api.errors["create", "Event"]
    await recording.record("Unavailable")

    assert recording.counts == {"Unavailable: words": 2}


async def test_forgotten_server_gets_no_more_events() -> None:
    recording = Recording()
    for _ in range(MAX_TOKENS + 1):
        await recording.record("Unavailable")
    written = len(recording.api.writes)
    recording.recorder.forget(KEY)
    await recording.recorder.flush()

    assert len(recording.api.writes) == written


async def test_servers_that_are_created_again_and_again_share_the_limit_of_their_namespace() -> None:
    recording = Recording()
    for number in range(NAMESPACE_TOKENS + 50):
        key, metadata = Key("flood", f"s{number}"), {"namespace": "flood", "name": f"s{number}", "uid": f"f{number}"}
        await recording.recorder.record(key, metadata, "Normal", "Available", "serves", recording.now)
        recording.recorder.forget(key)
    assert len(recording.held) == NAMESPACE_TOKENS

    await recording.record("Available")
    assert recording.counts["Available: words"] == 1


async def test_limits_of_namespaces_without_servers_are_forgotten() -> None:
    recording = Recording()
    for number in range(50):
        key, metadata = Key(f"n{number}", "s"), {"namespace": f"n{number}", "name": "s", "uid": f"f{number}"}
        await recording.recorder.record(key, metadata, "Normal", "Available", "serves", recording.now)
        recording.recorder.forget(key)
    recording.recorder._forget_full_buckets()
    assert len(recording.recorder._buckets) == 50
    recording.clock.now += NAMESPACE_REFILL_SECONDS
    recording.recorder._forget_full_buckets()
    assert recording.recorder._buckets == {}
