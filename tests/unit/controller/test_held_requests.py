from __future__ import annotations

from collections.abc import Iterable

from vllm_operator.controller.held_requests import HeldRequests
from vllm_operator.kube.key import Key

A, B = Key("llm", "a"), Key("llm", "b")
FIRST, SECOND = Key("llm", "first"), Key("llm", "second")


def test_the_numbers_of_all_gateways_are_added_up_and_changes_are_reported_once() -> None:
    changes: list[list[Key]] = []

    def note(keys: Iterable[Key]) -> None:
        changes.append(list(keys))

    held = HeldRequests(note)
    held.report(FIRST, {A: 2, B: 0})
    held.report(FIRST, {A: 2})
    held.report(SECOND, {A: 1, B: 1})
    assert (held.count(A), held.count(B)) == (3, 1)
    held.report(SECOND, None)
    held.report(FIRST, {})
    assert (held.count(A), held.count(B)) == (0, 0)
    assert changes == [[A], [A, B], [A, B], [A]]
