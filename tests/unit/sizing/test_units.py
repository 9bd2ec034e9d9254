from __future__ import annotations

from vllm_operator.sizing.units import divide_up, round_up


def test_division_rounds_up() -> None:
    assert [divide_up(number, 16) for number in (0, 1, 16, 17)] == [0, 1, 1, 2]


def test_rounding_reaches_the_next_multiple() -> None:
    assert [round_up(number, 64) for number in (0, 1, 64, 65)] == [0, 64, 64, 128]
