from __future__ import annotations

import pytest

from vllm_operator.sizing.layers import StateCache
from vllm_operator.sizing.recurrent_states import state_tensors

MAMBA2 = StateCache(
    "mamba2",
    (("inner", 4096), ("groups", 8), ("heads", 64), ("head_size", 64), ("state", 128), ("kernel", 4)),
    "bfloat16",
    "float32",
)


def test_states_of_qwen3_next_divide_by_tensor_parallelism() -> None:
    sizes = (("key_heads", 16), ("value_heads", 32), ("key_size", 128), ("value_size", 128), ("kernel", 4))
    cache = StateCache("gated_delta_net", sizes, "bfloat16", "bfloat16")
    assert [tensor.shape for tensor in state_tensors(cache, 2)] == [(3, 4096), (16, 128, 128)]


def test_groups_are_repeated_until_tensor_parallelism_divides_them() -> None:
    convolution, state = state_tensors(MAMBA2, 16)
    assert convolution.shape == (3, (4096 + 2 * 16 * 128) // 16)
    assert state.shape == (4, 64, 128)


@pytest.mark.parametrize("kind", ["mamba1", "linear", "short_conv", "kda"])
def test_each_kind_has_states(kind: str) -> None:
    sizes = (("inner", 4096), ("state", 16), ("kernel", 4), ("heads", 32), ("head_size", 128))
    assert all(tensor.size > 0 for tensor in state_tensors(StateCache(kind, sizes, "bfloat16", "float32"), 2))
