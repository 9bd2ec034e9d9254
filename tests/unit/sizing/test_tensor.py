from __future__ import annotations

import pytest

from vllm_operator.sizing.tensor import Tensor, allocated
from vllm_operator.sizing.units import MIB


@pytest.mark.parametrize(
    ("size", "counted"),
    [
        (1, 512),
        (MIB, MIB),
        (int(31.5 * MIB), 32 * MIB),
        (int(24.5 * MIB), int(24.5 * MIB)),
        (259 * MIB, 260 * MIB),
        (32 * MIB, 32 * MIB),
    ],
)
def test_allocator_keeps_a_rest_of_one_mib_with_the_tensor(size: int, counted: int) -> None:
    assert allocated(size) == counted


def test_elements_of_experts_and_copies() -> None:
    assert Tensor("w13", 4, 8, copies=2, experts=3).elements == 192
