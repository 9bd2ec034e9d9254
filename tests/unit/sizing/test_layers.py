from __future__ import annotations

from vllm_operator.sizing.layers import StateTensor


def test_size_of_a_state_is_elements_times_width() -> None:
    assert StateTensor((3, 10240), "bfloat16").size == 61_440
    assert StateTensor((48, 128, 128), "float32").size == 3_145_728
