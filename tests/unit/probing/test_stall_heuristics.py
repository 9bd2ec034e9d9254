"""When an engine is suspicious, from two looks at its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.probing.test_engine_counters import recorded
from vllm_operator.probing.engine_counters import EngineCounters
from vllm_operator.probing.stall_heuristics import (
    ASK_AGAIN_SECONDS,
    DEADLINE_SECONDS,
    LOOK_SECONDS,
    MAX_DEADLINE_SECONDS,
    StallState,
    StallSuspicion,
    answered,
    is_due,
    is_idle,
    is_idle_due,
    looked,
    postponed,
    refused,
    went_on,
)

LOADED = StallSuspicion(None, loaded=True)
UNANSWERED = StallSuspicion(None, loaded=False)
PROVEN = StallState(proven=True)
"""Of a replica that was watched from its start."""


def looks(*names: str | EngineCounters, memory: StallState = PROVEN, apart: float = 10.0) -> StallSuspicion | None:
    """What the last of some looks, ten seconds apart, makes suspicious."""
    found = None
    for index, name in enumerate(names):
        pulse = recorded(name) if isinstance(name, str) else name
        memory, found = looked(memory, pulse, 1000.0 + index * apart)
    return found


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("busy",), None),
        (("busy", "busy-later"), None),
        (("busy-frozen",), None),
        (("busy", "busy-frozen"), None),
        (("busy-frozen", "busy-frozen-later"), LOADED),
        (("busy-frozen", "busy-frozen-later", "busy-frozen-later"), LOADED),
        (("busy-frozen", "busy-thawed"), None),
        (("idle", "idle"), None),
        (("idle", "idle", "idle-frozen-asked"), None),
        (("idle", "idle-frozen-asked", "idle-frozen-asked-later"), UNANSWERED),
        (("idle-frozen-asked", "idle-frozen-given-up"), UNANSWERED),
        (("idle", "idle-frozen-given-up"), UNANSWERED),
    ],
)
def test_looks_at_a_real_server(names: tuple[str, ...], expected: StallSuspicion | None) -> None:
    assert looks(*names) == expected


def pulse(engine: str = "0", numbers: bytes = b"1", held: float = 0.0, **more: float) -> EngineCounters:
    return EngineCounters({engine: numbers}, {engine: held}, **more)


def test_stillness_must_last() -> None:
    assert looks("busy-frozen", "busy-frozen-later", apart=3.0) is None
    assert looks("busy-frozen", *["busy-frozen-later"] * 3, apart=3.0) == LOADED


def test_long_prompt_that_fills_the_cache_moves() -> None:
    assert looks(pulse(numbers=b"8 0.1", held=8), pulse(numbers=b"8 0.2", held=8)) is None


def test_one_engine_of_several_is_suspected_by_its_number() -> None:
    before = EngineCounters({"0": b"1", "1": b"5"}, {"0": 2.0, "1": 2.0})
    after = EngineCounters({"0": b"2", "1": b"5"}, {"0": 2.0, "1": 2.0})
    assert looks(before, after) == StallSuspicion("1", loaded=True)


def test_request_that_came_just_now_is_not_suspicious() -> None:
    assert looks(pulse(held=0), pulse(held=3)) is None


def test_server_that_began_anew_is_not_compared_with_its_former_run() -> None:
    assert looks(pulse(held=3, process=1.0), pulse(held=3, process=2.0)) is None


def test_kept_connections_are_no_unanswered_requests() -> None:
    """A gateway keeps a pool open; a completion that is answered beside it shows that it means nothing."""
    memory, _ = looked(PROVEN, pulse(connections=20.0), 0.0)
    pooled = pulse(connections=30.0)
    memory, _ = looked(memory, pooled, 14.0)
    memory, found = looked(memory, pooled, 24.0)
    assert found == UNANSWERED
    memory = answered(memory, pooled, 25.0)
    for moment in (60.0, 70.0, 80.0):
        memory, found = looked(memory, pooled, moment)
        assert found is None


def test_requests_that_come_after_a_freeze_between_two_looks_are_seen() -> None:
    """The engine worked, froze idle, and was asked again, all between two looks: its connections still tell."""
    memory, _ = looked(PROVEN, pulse(numbers=b"1", connections=20.0), 0.0)
    frozen = pulse(numbers=b"2", connections=25.0)
    memory, _ = looked(memory, frozen, 14.0)
    memory, found = looked(memory, frozen, 24.0)
    assert found == UNANSWERED


def test_server_that_does_not_count_its_connections_is_judged_by_the_rest() -> None:
    assert looks(pulse(), pulse(), pulse()) is None
    assert looks(pulse(held=1), pulse(held=1)) == LOADED


def test_nobody_is_looked_at_while_no_question_may_follow() -> None:
    memory, _ = looked(PROVEN, pulse(), 100.0)
    assert memory.look_after == 100.0 + LOOK_SECONDS
    assert postponed(memory, 110.0).look_after == 110.0
    assert postponed(memory, 110.0, 600.0).look_after == 710.0


def test_idle_is_neither_moving_nor_holding() -> None:
    assert is_idle(pulse(), pulse())
    assert not is_idle(None, pulse())
    assert not is_idle(pulse(), pulse(numbers=b"2"))
    assert not is_idle(pulse(held=1), pulse(held=1))


@pytest.mark.parametrize("after", [answered, went_on])
def test_engine_with_long_steps_gets_more_time(after: object) -> None:
    still = StallState(pulse=pulse(held=1), at=120.0, still_since=100.0)
    assert callable(after)
    assert after(still, pulse(), 115.0).deadline == 2 * 15.0
    assert after(still, pulse(), 101.0).deadline == DEADLINE_SECONDS
    assert after(still, pulse(), 900.0).deadline == MAX_DEADLINE_SECONDS
    assert after(replace(still, still_since=None), pulse(), 115.0).deadline == DEADLINE_SECONDS


def test_engine_that_freezes_right_after_its_answer_may_be_asked_at_once() -> None:
    memory = answered(StallState(), pulse(held=1), 100.0)
    memory, found = looked(memory, pulse(held=1), 110.0)
    assert found == LOADED
    assert is_due(memory, 110.0)


def test_idle_and_busy_engines_are_asked_at_a_slow_pace() -> None:
    memory = answered(StallState(), None, 100.0)
    assert not is_idle_due(memory, 100.0 + ASK_AGAIN_SECONDS - 1)
    assert is_idle_due(memory, 100.0 + ASK_AGAIN_SECONDS)
    memory = went_on(StallState(), None, 100.0)
    assert not is_due(memory, 100.0 + ASK_AGAIN_SECONDS - 1)
    assert is_due(memory, 100.0 + ASK_AGAIN_SECONDS)


@pytest.mark.parametrize("after", [answered, went_on, lambda memory, _, now: refused(memory, now)])
def test_engine_that_stood_still_when_it_was_found_is_asked_once(after: Callable[..., StallState]) -> None:
    """It may have frozen while idle before the operator began, with clients that wait for ever."""
    still = pulse(connections=25.0)
    memory, found = looked(StallState(), still, 0.0)
    assert found is None
    memory, found = looked(memory, still, 10.0)
    assert found == UNANSWERED
    memory = after(memory, still, 10.0)
    assert memory.deadline == DEADLINE_SECONDS, "it was idle, not slow"
    for moment in (1000.0, 1010.0, 1020.0):
        memory, found = looked(memory, still, moment)
        assert found is None


def test_engine_that_was_seen_to_work_is_not_asked() -> None:
    memory, _ = looked(StallState(), pulse(numbers=b"1"), 0.0)
    memory, _ = looked(memory, pulse(numbers=b"2"), 10.0)
    memory, found = looked(memory, pulse(numbers=b"2"), 20.0)
    assert found is None


def test_own_request_that_was_given_up_raises_no_suspicion() -> None:
    memory, _ = looked(PROVEN, pulse(answered=5.0), 0.0)
    assert looks(pulse(answered=6.0), memory=postponed(memory, 500.0)) is None
