"""What the benchmark makes of its figures."""

from __future__ import annotations

import pytest

from tests.benchmark.breakdown import shares
from tests.benchmark.growth import exponent


@pytest.mark.parametrize("power", [0.5, 1.0, 1.15, 2.0])
def test_the_exponent_is_that_of_the_power(power: float) -> None:
    sizes = [100, 500, 1000, 5000]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=0.01)


def test_one_size_tells_no_growth() -> None:
    assert exponent([100, 100], [1.0, 2.0]) is None


def test_a_sample_belongs_to_its_innermost_frame() -> None:
    samples = "run (vllm_operator/__main__.py:1);loads (json/__init__.py:3) 3\nworker (kopf/_core/queueing.py:1) 1\n"
    assert shares(samples) == {"JSON and compression": 75.0, "kopf": 25.0}


def test_no_samples_have_no_shares() -> None:
    assert shares("") == {}
