from __future__ import annotations

import pytest

from vllm_operator.sizing.layers import StateCache
from vllm_operator.sizing.mixer_tensors import state_tensors_of

SIZES = (
    ("inner", 4096),
    ("state", 128),
    ("kernel", 4),
    ("rank", 128),
    ("groups", 8),
    ("heads", 32),
    ("head_size", 128),
    ("key_heads", 16),
    ("value_heads", 32),
    ("key_size", 128),
    ("value_size", 128),
)


@pytest.mark.parametrize("kind", ["mamba1", "mamba2", "gated_delta_net", "kda", "linear", "short_conv"])
def test_large_tensors_are_divided(kind: str) -> None:
    cache = StateCache(kind, SIZES, "bfloat16", "float32")
    whole = {tensor.kind: tensor.elements for tensor in state_tensors_of(2048, cache, 1, 0)}
    half = {tensor.kind: tensor.elements for tensor in state_tensors_of(2048, cache, 2, 0)}
    assert sum(half.values()) < 0.6 * sum(whole.values())
    assert whole.keys() == half.keys()


def test_projections_can_be_quantized() -> None:
    cache = StateCache("gated_delta_net", SIZES, "bfloat16", "float32")
    names = [tensor.names for tensor in state_tensors_of(2048, cache, 1, 7) if tensor.linear]
    assert ("layers.7.linear_attn.out_proj",) in names
