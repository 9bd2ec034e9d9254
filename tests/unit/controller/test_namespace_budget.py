"""The computing time that the changed specs of one namespace take."""

from __future__ import annotations

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.controller.namespace_budget import (
    BURST_SECONDS,
    LONGEST_DELAY_SECONDS,
    SHARE,
    NamespaceBudget,
)
from vllm_operator.kube.key import Key

KEYS = [Key("noisy", f"server-{number}") for number in range(100)]
VICTIM = Key("quiet", "mistral")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def computed_within(budget: NamespaceBudget, clock: FakeClock, keys: list[Key], cost: float, seconds: float) -> float:
    """Return the computing time of servers whose spec changes all the time, and that ask again as they are told."""
    due = dict.fromkeys(keys, clock.now)
    end, used = clock.now + seconds, 0.0
    while clock.now < end:
        key = min(due, key=lambda one: due[one])
        clock.now = max(clock.now, due[key])
        if delay := budget.delay(key):
            due[key] = clock.now + delay
            continue
        budget.charge(key.namespace, cost)
        used += cost
        clock.now += cost
        due[key] = clock.now + 0.5
    return used


@pytest.mark.parametrize("cost", [0.005, 0.05, 2.0])
@pytest.mark.parametrize("servers", [1, 100])
def test_one_namespace_takes_its_share_of_the_time(clock: FakeClock, cost: float, servers: int) -> None:
    used = computed_within(NamespaceBudget(clock), clock, KEYS[:servers], cost, 600.0)
    assert used <= BURST_SECONDS + SHARE * 600.0 + 2 * cost


def test_share_is_used_while_servers_wait(clock: FakeClock) -> None:
    used = computed_within(NamespaceBudget(clock), clock, KEYS, 0.05, 600.0)
    assert used >= 0.8 * (BURST_SECONDS + SHARE * 600.0)


def test_another_namespace_does_not_wait(clock: FakeClock) -> None:
    budget = NamespaceBudget(clock)
    budget.charge("noisy", 1000.0)
    assert budget.delay(KEYS[0]) == LONGEST_DELAY_SECONDS
    assert budget.delay(VICTIM) == 0.0


def test_thousand_honest_servers_do_not_wait(clock: FakeClock) -> None:
    budget = NamespaceBudget(clock)
    for number in range(1000):
        assert budget.delay(Key("llm", f"server-{number}")) == 0.0
        budget.charge("llm", 0.005)


def test_account_that_is_full_again_needs_no_memory(clock: FakeClock) -> None:
    budget = NamespaceBudget(clock)
    budget.charge("noisy", BURST_SECONDS + 1.0)
    assert budget.delay(KEYS[0]) > 0
    budget.forget(KEYS[0])
    clock.now += (BURST_SECONDS + 1.0) / SHARE
    assert budget.delay(KEYS[0]) == 0.0
    assert budget._accounts == {}
