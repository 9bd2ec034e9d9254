"""What one namespace leaves for the others."""

from __future__ import annotations

import pytest

from vllm_operator.kube.fair_share import FairShare


def fill(share: FairShare, namespace: str) -> int:
    """Take one after the other for a namespace, and return how many it gets."""
    taken = 0
    while share.left(namespace) > 0:
        share.change(namespace, 1)
        taken += 1
    return taken


@pytest.mark.parametrize("total", [64, 256, 100_000])
def test_one_namespace_holds_a_quarter_and_two_hold_two_fifths(total: int) -> None:
    share = FairShare(total)
    assert fill(share, "a") == total // 4
    fill(share, "b")
    fill(share, "a")
    assert total - share.free <= 0.45 * total


def test_every_further_namespace_gets_something() -> None:
    share = FairShare(256)
    assert all(fill(share, f"n{index}") for index in range(16))


def test_less_may_be_free_for_one_use() -> None:
    share = FairShare(90)
    share.change("a", 5)
    assert (share.left("a"), share.left("a", 30), share.left("a", 9)) == (24, 5, -2)


def test_what_is_given_back_is_forgotten() -> None:
    share = FairShare(10)
    share.change("a", 4)
    share.change("a", -4)
    assert share.free == 10
    assert not share._held
