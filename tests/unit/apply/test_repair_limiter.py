"""Test how often one object is repaired."""

from __future__ import annotations

from tests.helpers.fakes import FakeClock
from vllm_operator.apply import repair_limiter


def test_old_repairs_are_forgotten() -> None:
    clock = FakeClock()
    budget = repair_limiter.RepairLimiter(clock)
    for number in range(100):
        budget.delay(f"uid-{number}")
        clock.now += repair_limiter.WINDOW_SECONDS

    assert len(budget._repairs) == 1


def test_object_is_repaired_at_most_10_times_a_minute() -> None:
    clock = FakeClock()
    repairs = repair_limiter.RepairLimiter(clock)
    for _ in range(repair_limiter.MAX_REPAIRS):
        assert repairs.delay("u1") == 0.0
        clock.now += 1

    assert repairs.delay("u1") == repair_limiter.WINDOW_SECONDS - repair_limiter.MAX_REPAIRS
    assert repairs.delay("u2") == 0.0


def test_only_the_last_write_is_repeated_and_only_for_a_minute() -> None:
    clock = FakeClock()
    repairs = repair_limiter.RepairLimiter(clock)
    repairs.record_write("u1", "old")
    repairs.record_write("u1", "new")
    assert not repairs.repeats_last_write("u1", "old")
    assert repairs.repeats_last_write("u1", "new")
    clock.now += repair_limiter.WINDOW_SECONDS

    assert not repairs.repeats_last_write("u1", "new")
