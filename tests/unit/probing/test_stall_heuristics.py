"""Suspicion of a stall, from two samples of the engine counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.probing.test_engine_counters import recorded
from vllm_operator.probing.engine_counters import EngineCounters
from vllm_operator.probing.stall_heuristics import (
    COMPLETION_PAUSE_SECONDS,
    DEADLINE_SECONDS,
    MAX_DEADLINE_SECONDS,
    SAMPLE_SECONDS,
    StallState,
    StallSuspicion,
    is_completion_due,
    is_idle,
    is_idle_completion_due,
    on_answer,
    on_progress,
    on_refusal,
    on_sample,
    restart_observation,
)

WITH_REQUESTS = StallSuspicion(None, has_requests=True)
WITHOUT_REQUESTS = StallSuspicion(None)
WORKING = StallState(seen_working=True)
"""State of a replica that was observed from its start."""


def suspicion_of(
    *names: str | EngineCounters, state: StallState = WORKING, apart: float = 10.0
) -> StallSuspicion | None:
    """Return the suspicion after the last of some samples, ten seconds apart."""
    found = None
    for index, name in enumerate(names):
        counters = recorded(name) if isinstance(name, str) else name
        state, found = on_sample(state, counters, 1000.0 + index * apart)
    return found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("busy",), None),
        (("busy", "busy-later"), None),
        (("busy-suspended",), None),
        (("busy", "busy-suspended"), None),
        (("busy-suspended", "busy-suspended-later"), WITH_REQUESTS),
        (("busy-suspended", "busy-suspended-later", "busy-suspended-later"), WITH_REQUESTS),
        (("busy-suspended", "busy-resumed"), None),
        (("idle", "idle"), None),
        (("idle", "idle", "idle-suspended-requested"), None),
        (("idle", "idle-suspended-requested", "idle-suspended-requested-later"), WITHOUT_REQUESTS),
        (("idle-suspended-requested", "idle-suspended-given-up"), WITHOUT_REQUESTS),
        (("idle", "idle-suspended-given-up"), WITHOUT_REQUESTS),
    ],
)
def test_samples_of_a_real_server(names: tuple[str, ...], expected: StallSuspicion | None) -> None:
    assert suspicion_of(*names) == expected


def counters(progress: bytes = b"1", requests: float = 0.0, **more: float) -> EngineCounters:
    return EngineCounters({"0": progress}, {"0": requests}, **more)


def test_stillness_must_last() -> None:
    assert suspicion_of("busy-suspended", "busy-suspended-later", apart=3.0) is None
    assert suspicion_of("busy-suspended", *["busy-suspended-later"] * 3, apart=3.0) == WITH_REQUESTS


def test_long_prompt_that_fills_the_cache_is_progress() -> None:
    assert suspicion_of(counters(progress=b"8 0.1", requests=8), counters(progress=b"8 0.2", requests=8)) is None


def test_one_engine_of_several_is_suspected_by_its_number() -> None:
    before = EngineCounters({"0": b"1", "1": b"5"}, {"0": 2.0, "1": 2.0})
    after = EngineCounters({"0": b"2", "1": b"5"}, {"0": 2.0, "1": 2.0})
    assert suspicion_of(before, after) == StallSuspicion("1", has_requests=True)


def test_new_request_is_not_suspicious() -> None:
    assert suspicion_of(counters(requests=0), counters(requests=3)) is None


def test_restarted_server_is_not_compared_with_its_earlier_run() -> None:
    assert suspicion_of(counters(requests=3, process_start=1.0), counters(requests=3, process_start=2.0)) is None


def test_pooled_connections_are_no_waiting_clients() -> None:
    """A gateway keeps a pool open; an answered completion shows that its connections carry no waiting request."""
    state, _ = on_sample(WORKING, counters(connections=20.0), 0.0)
    pooled = counters(connections=30.0)
    state, _ = on_sample(state, pooled, 14.0)
    state, found = on_sample(state, pooled, 24.0)
    assert found == WITHOUT_REQUESTS
    state = on_answer(state, pooled, 25.0)
    for moment in (60.0, 70.0, 80.0):
        state, found = on_sample(state, pooled, moment)
        assert found is None


def test_requests_after_a_stall_between_two_samples_are_seen() -> None:
    """The engine worked, stalled while idle, and got requests, all between two samples: its connections show it."""
    state, _ = on_sample(WORKING, counters(progress=b"1", connections=20.0), 0.0)
    stalled = counters(progress=b"2", connections=25.0)
    state, _ = on_sample(state, stalled, 14.0)
    state, found = on_sample(state, stalled, 24.0)
    assert found == WITHOUT_REQUESTS


def test_server_without_connection_count_is_judged_by_the_rest() -> None:
    assert suspicion_of(counters(), counters(), counters()) is None
    assert suspicion_of(counters(requests=1), counters(requests=1)) == WITH_REQUESTS


def test_no_sample_is_taken_while_no_completion_may_follow() -> None:
    state, _ = on_sample(WORKING, counters(), 100.0)
    assert state.next_sample_at == 100.0 + SAMPLE_SECONDS
    assert restart_observation(state, 110.0).next_sample_at == 110.0
    assert restart_observation(state, 110.0, 600.0).next_sample_at == 710.0


def test_idle_engine_has_no_progress_and_no_requests() -> None:
    assert is_idle(counters(), counters())
    assert not is_idle(None, counters())
    assert not is_idle(counters(), counters(progress=b"2"))
    assert not is_idle(counters(requests=1), counters(requests=1))


@pytest.mark.parametrize("after", [on_answer, on_progress])
def test_engine_with_long_steps_gets_more_time(after: object) -> None:
    still = StallState(counters=counters(requests=1), sampled_at=120.0, still_since=100.0)
    assert callable(after)
    assert after(still, counters(), 115.0).deadline == 2 * 15.0
    assert after(still, counters(), 101.0).deadline == DEADLINE_SECONDS
    assert after(still, counters(), 900.0).deadline == MAX_DEADLINE_SECONDS
    assert after(replace(still, still_since=None), counters(), 115.0).deadline == DEADLINE_SECONDS


def test_engine_that_stalls_right_after_its_answer_may_be_tested_at_once() -> None:
    state = on_answer(StallState(), counters(requests=1), 100.0)
    state, found = on_sample(state, counters(requests=1), 110.0)
    assert found == WITH_REQUESTS
    assert is_completion_due(state, 110.0)


def test_idle_and_busy_engines_are_tested_at_long_intervals() -> None:
    state = on_answer(StallState(), None, 100.0)
    assert not is_idle_completion_due(state, 100.0 + COMPLETION_PAUSE_SECONDS - 1)
    assert is_idle_completion_due(state, 100.0 + COMPLETION_PAUSE_SECONDS)
    state = on_progress(StallState(), None, 100.0)
    assert not is_completion_due(state, 100.0 + COMPLETION_PAUSE_SECONDS - 1)
    assert is_completion_due(state, 100.0 + COMPLETION_PAUSE_SECONDS)


@pytest.mark.parametrize("after", [on_answer, on_progress, lambda state, _, now: on_refusal(state, now)])
def test_engine_that_is_still_at_first_is_tested_once(after: Callable[..., StallState]) -> None:
    """It may have stalled while idle before the operator started, with clients that wait without end."""
    still = counters(connections=25.0)
    state, found = on_sample(StallState(), still, 0.0)
    assert found is None
    state, found = on_sample(state, still, 10.0)
    assert found == WITHOUT_REQUESTS
    state = after(state, still, 10.0)
    assert state.deadline == DEADLINE_SECONDS, "it was idle, not slow"
    for moment in (1000.0, 1010.0, 1020.0):
        state, found = on_sample(state, still, moment)
        assert found is None


def test_engine_that_was_seen_working_is_not_tested() -> None:
    state, _ = on_sample(StallState(), counters(progress=b"1"), 0.0)
    state, _ = on_sample(state, counters(progress=b"2"), 10.0)
    state, found = on_sample(state, counters(progress=b"2"), 20.0)
    assert found is None


def test_cancelled_completion_of_the_operator_raises_no_suspicion() -> None:
    state, _ = on_sample(WORKING, counters(finished=5.0), 0.0)
    assert suspicion_of(counters(finished=6.0), state=restart_observation(state, 500.0)) is None
