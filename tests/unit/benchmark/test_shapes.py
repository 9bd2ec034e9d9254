from __future__ import annotations

from itertools import islice, pairwise

import pytest

from vllm_operator.benchmark.shapes import ShapeError, Stage, arrivals, parse_load


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("concurrent=8", [Stage("concurrent", 8)]),
        ("constant=2.5", [Stage("constant", 2.5)]),
        ("poisson=0.5", [Stage("poisson", 0.5)]),
        ("turns=4", [Stage("turns", 4)]),
        ("sweep=1,2,4", [Stage("concurrent", 1), Stage("concurrent", 2), Stage("concurrent", 4)]),
    ],
)
def test_loads_are_stages(text: str, stages: list[Stage]) -> None:
    assert list(parse_load(text)) == stages


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fast=1", "is no load: write concurrent=8"),
        ("concurrent", "is no load"),
        ("concurrent=x", "'x' is no number"),
        ("concurrent=0", "a whole number from 1 to 4096"),
        ("concurrent=1.5", "a whole number from 1 to 4096"),
        ("constant=0", "a rate from 0.001 to 1000"),
        ("constant=nan", "a rate from 0.001 to 1000"),
        ("poisson=inf", "a rate from 0.001 to 1000"),
        ("concurrent=inf", "a whole number"),
        ("sweep=" + ",".join(["1"] * 33), "has 33 stages: at most 32"),
    ],
)
def test_other_loads_are_refused_with_a_way_out(text: str, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        parse_load(text)


def test_names_of_stages_can_be_read_again() -> None:
    assert parse_load(Stage("poisson", 2.5).name) == (Stage("poisson", 2.5),)


def test_a_constant_rate_is_even() -> None:
    assert list(islice(arrivals(Stage("constant", 4), 0), 4)) == [0.0, 0.25, 0.5, 0.75]


def test_a_poisson_rate_is_kept_on_average_and_uneven() -> None:
    times = list(islice(arrivals(Stage("poisson", 10), 7), 4001))
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.1, rel=0.05)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    # The standard deviation of an exponential distribution is its mean.
    assert variance**0.5 == pytest.approx(mean, rel=0.1)
    assert times == list(islice(arrivals(Stage("poisson", 10), 7), 4001))
