from __future__ import annotations

import threading

import pytest

from vllm_operator.client import BreakerState, CircuitBreaker, CircuitBreakerConfig


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def changes() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def breaker(clock: FakeClock, changes: list[tuple[str, str]]) -> CircuitBreaker:
    config = CircuitBreakerConfig(failure_threshold=3, recovery_timeout=30)
    return CircuitBreaker(config, clock=clock, on_change=lambda old, new: changes.append((old.value, new.value)))


def fail(breaker: CircuitBreaker, times: int = 3) -> None:
    for _ in range(times):
        permit = breaker.acquire()
        assert permit is not None
        permit.failure()


def test_failures_in_a_row_open_it(breaker: CircuitBreaker, changes: list[tuple[str, str]]) -> None:
    fail(breaker)

    assert breaker.acquire() is None
    assert not breaker.admits()
    assert changes == [("closed", "open")]
    assert breaker.seconds_until_test == 30


def test_success_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.acquire().success()  # type: ignore[union-attr]
    fail(breaker, 2)

    assert breaker.state is BreakerState.CLOSED


def test_half_open_lets_one_request_through_at_a_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.now += 30
    assert breaker.state is BreakerState.HALF_OPEN

    probe = breaker.acquire()

    assert probe is not None
    assert breaker.acquire() is None
    assert breaker.seconds_until_test == 0


def test_probe_that_succeeds_closes_it(
    breaker: CircuitBreaker, clock: FakeClock, changes: list[tuple[str, str]]
) -> None:
    fail(breaker)
    clock.now += 30
    breaker.acquire().success()  # type: ignore[union-attr]

    assert breaker.acquire() is not None
    assert changes == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_probe_that_fails_opens_it_again_for_the_whole_time(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.now += 30
    breaker.acquire().failure()  # type: ignore[union-attr]

    assert breaker.state is BreakerState.OPEN
    assert breaker.seconds_until_test == 30


def test_probe_that_is_given_up_leaves_room_for_the_next(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.now += 30
    breaker.acquire().release()  # type: ignore[union-attr]

    assert breaker.acquire() is not None


def test_results_from_before_it_opened_do_not_count(breaker: CircuitBreaker, clock: FakeClock) -> None:
    late_success, late_failure = breaker.acquire(), breaker.acquire()
    fail(breaker)
    clock.now += 30
    probe = breaker.acquire()
    assert late_success is not None
    assert late_failure is not None
    late_success.success()
    late_failure.failure()

    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.acquire() is None, "the probe still runs"
    assert probe is not None


def test_several_successes_are_needed_when_asked_for(clock: FakeClock) -> None:
    breaker = CircuitBreaker(
        CircuitBreakerConfig(failure_threshold=1, recovery_timeout=1, success_threshold=2), clock=clock
    )
    fail(breaker, 1)
    clock.now += 1
    breaker.acquire().success()  # type: ignore[union-attr]
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.acquire().success()  # type: ignore[union-attr]

    assert breaker.state is BreakerState.CLOSED


def test_disabled_breaker_stays_closed(clock: FakeClock) -> None:
    breaker = CircuitBreaker(CircuitBreakerConfig(enabled=False, failure_threshold=1), clock=clock)
    fail(breaker, 5)

    assert breaker.admits()


def test_broken_streams_count_as_failures(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        breaker.count_failure()

    assert breaker.state is BreakerState.OPEN


def test_one_probe_only_with_many_threads(breaker: CircuitBreaker, clock: FakeClock) -> None:
    fail(breaker)
    clock.now += 30
    barrier, permits = threading.Barrier(16), []

    def take() -> None:
        barrier.wait()
        permits.append(breaker.acquire())

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([permit for permit in permits if permit is not None]) == 1
