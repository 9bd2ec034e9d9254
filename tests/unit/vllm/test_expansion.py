from __future__ import annotations

import pytest

from vllm_operator.vllm.expansion import expand, references


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)/b", "1/b"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE) $A ${A} $", "$(NONE) $A ${A} $"),
        ("$(A", "$(A"),
        ("$(A)$(B)", "12"),
        ("plain", "plain"),
    ],
)
def test_references_are_replaced_as_the_kubelet_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_a_replaced_value_is_not_replaced_again() -> None:
    assert expand("$(A)", {"A": "$(B)", "B": "2"}) == "$(B)"


def test_references_are_named() -> None:
    assert references("$(A) $$(B) $(C)") == ("A", "C")
