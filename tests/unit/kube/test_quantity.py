"""Test that quantities become exact numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.kube.quantity import SUFFIXES, parse_quantity

EQUAL = [
    ("1024Mi", "1Gi"),
    ("0.5", "500m"),
    ("1e3", "1k"),
    ("1E3", "1000"),
    ("1.5Gi", "1536Mi"),
    ("1E", "1000P"),
    ("2", 2),
    ("500m", 0.5),
    (".5", "0.5"),
    ("1.", "1"),
    ("+1", "1"),
    ("1000u", "1m"),
    ("1e-3", "1m"),
    ("0", "0Gi"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_quantities_are_equal_numbers(one: object, other: object) -> None:
    assert parse_quantity(one) == parse_quantity(other) is not None


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GB", "one", "1e", "0x1f", "1_000", ".", "1Gi\n", "--1", "NaN"])
def test_other_text_is_no_quantity(text: str) -> None:
    assert parse_quantity(text) is None


@pytest.mark.parametrize("value", [True, None, [], {}])
def test_other_types_are_no_quantity(value: object) -> None:
    assert parse_quantity(value) is None


@given(st.integers(0, 10**15), st.sampled_from(sorted(SUFFIXES)))
def test_suffix_multiplies(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == number * SUFFIXES[suffix]


@given(st.integers(0, 10**12), st.sampled_from(["Ki", "Mi", "Gi", "Ti", "Pi"]))
def test_unit_is_1024_of_the_one_below(number: int, suffix: str) -> None:
    units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"]
    below = units[units.index(suffix) - 1]

    assert parse_quantity(f"{number}{suffix}") == parse_quantity(f"{number * 1024}{below}")


@given(st.decimals(min_value=0, max_value=10**9, places=3))
def test_decimals_are_exact(number: Decimal) -> None:
    assert parse_quantity(f"{number:f}") == number == parse_quantity(f"{number * 1000:.0f}m")


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_none(text: str) -> None:
    found = parse_quantity(text)

    assert found is None or found.is_finite()
