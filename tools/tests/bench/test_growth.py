"""The exponent of growth is read from sizes and values."""

from __future__ import annotations

import pytest

from tools.bench.growth import exponent


@pytest.mark.parametrize("power", [0.5, 1.0, 1.15, 2.0])
def test_exponent_is_that_of_the_power(power: float) -> None:
    sizes = [100, 500, 1000, 5000]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=0.01)


def test_one_size_has_no_growth() -> None:
    assert exponent([100, 100], [1.0, 2.0]) is None
