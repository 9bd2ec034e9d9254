"""A spec that keeps changing is applied at a limited rate, and in the end in its last version."""

from __future__ import annotations

from tests.helpers.fakes import FakeClock
from vllm_operator.controller.spec_rate_limit import BURST, INTERVAL_SECONDS, SpecRateLimiter


def test_few_changes_are_applied_at_once() -> None:
    limiter = SpecRateLimiter(FakeClock())
    assert [limiter.delay(version) for version in range(BURST)] == [0.0] * BURST


def test_next_change_may_be_applied_after_its_delay() -> None:
    clock = FakeClock()
    limiter = SpecRateLimiter(clock)
    for version in range(BURST):
        limiter.delay(version)
    delay = limiter.delay("next")
    assert 0 < delay <= INTERVAL_SECONDS
    clock.now += delay
    assert limiter.delay("next") == 0.0


def test_version_that_was_accepted_takes_no_other_token() -> None:
    limiter = SpecRateLimiter(FakeClock())
    assert [limiter.delay(1) for _ in range(10 * BURST)] == [0.0] * 10 * BURST


def test_hundred_changes_in_a_second_cause_a_handful_of_writes() -> None:
    clock = FakeClock()
    limiter = SpecRateLimiter(clock)
    applied = []
    for version in range(100):
        clock.now += 0.01
        if limiter.delay(version) == 0.0:
            applied.append(version)
    while limiter.delay(99):
        clock.now += 0.01
    assert len(applied) <= BURST + 1 / INTERVAL_SECONDS + 1
