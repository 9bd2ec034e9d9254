from __future__ import annotations

from vllm_operator.sizing.model import parse_model
from vllm_operator.sizing.shared_blocks import shared_block_tensors


def kinds(index: int) -> set[str]:
    names = ["mamba", "hybrid", "mamba", "hybrid"]
    fields = {"num_hidden_layers": 4, "num_mem_blocks": 1, "layers_block_type": names}
    shape = parse_model({"model_type": "zamba2", "architectures": ["Zamba2ForCausalLM"], **fields})
    return {tensor.kind for tensor in shared_block_tensors(shape, 1, index)}


def test_shared_block_belongs_to_the_first_layer_that_uses_it() -> None:
    assert "qkv_proj" not in kinds(0)
    assert "qkv_proj" in kinds(1)
    assert "qkv_proj" not in kinds(3)
    assert {"linear", "mlp_adapter"} <= kinds(3)
