"""Memory of answers that are being read, which one tenant cannot take from another."""

from __future__ import annotations

from vllm_operator.probing.body_budget import BUDGET_BYTES, FREE_BYTES, BodyBudget, BodyShare

MIB = 1024 * 1024


def fill(budget: BodyBudget, namespace: str) -> int:
    """Take 1 MiB after the other for a namespace, and return how many it gets."""
    taken = 0
    while budget.take(namespace, MIB):
        taken += 1
    return taken


def test_namespace_that_takes_all_it_gets_leaves_three_quarters() -> None:
    budget = BodyBudget()
    assert fill(budget, "greedy") * MIB == BUDGET_BYTES // 4
    assert fill(budget, "other") >= 8


def test_several_greedy_namespaces_leave_something_for_the_next() -> None:
    budget = BodyBudget()
    for index in range(8):
        assert fill(budget, f"n{index}") >= 1


def test_freed_bytes_can_be_taken_again() -> None:
    budget = BodyBudget()
    taken = fill(budget, "n")
    budget.free("n", taken * MIB)
    assert fill(budget, "n") == taken


def test_small_body_needs_no_budget() -> None:
    budget = BodyBudget()
    fill(budget, "n")
    assert BodyShare(budget, "n").hold(FREE_BYTES)


def test_growing_body_takes_the_difference_and_gives_all_back() -> None:
    budget = BodyBudget()
    share = BodyShare(budget, "n")
    assert share.hold(FREE_BYTES + 5 * MIB)
    assert share.hold(FREE_BYTES + 16 * MIB)
    assert not share.hold(FREE_BYTES + 17 * MIB)
    assert fill(budget, "n") == 0
    share.release()
    share.release()
    assert fill(budget, "n") == 16
