"""Delays between two attempts, and the selectors of the lists."""

from __future__ import annotations

import pytest

from vllm_operator.api.names import MANAGED_SELECTOR
from vllm_operator.informers.watch_source import RelistPolicy, selector_of
from vllm_operator.kube.kinds import SERVER, WATCHED_KINDS


async def no_sleep(_: float) -> bool:
    return False


def test_delay_doubles_up_to_the_longest() -> None:
    policy = RelistPolicy(no_sleep, jitter=0.0)
    assert [policy.delay(attempts) for attempts in (0, 1, 2, 6, 7, 1000)] == [0.1, 0.2, 0.4, 6.4, 8.0, 8.0]


@pytest.mark.parametrize(("reachable", "delay"), [(True, 8.0), (False, 1.0)])
def test_unreachable_api_server_has_its_own_longest_delay(reachable: bool, delay: float) -> None:
    policy = RelistPolicy(no_sleep, longest_unreachable_seconds=1.0, jitter=0.0)
    assert policy.delay(10, reachable=reachable) == delay


def test_delays_vary_by_their_jitter() -> None:
    policy = RelistPolicy(no_sleep)
    delays = {policy.delay(3) for _ in range(20)}
    assert len(delays) > 1
    assert all(0.64 <= delay <= 0.96 for delay in delays)


def test_all_servers_and_only_labelled_children_are_cached() -> None:
    assert {selector_of(kind) for kind in WATCHED_KINDS if kind is not SERVER} == {MANAGED_SELECTOR}
    assert selector_of(SERVER) is None
