from __future__ import annotations

import pytest

from tests.helpers.sizing import model
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.tensors import (
    Place,
    elements,
    embedding_tensors,
    head_tensors,
    layer_tensors,
)


def layer(name: str, index: int = 0, tensor: int = 1, *, experts: bool = False) -> dict[str, int]:
    place = Place(Division(tensor, experts=experts), index)
    return {item.kind: item.elements for item in layer_tensors(model(name), place)}


def test_llama_layer_has_218_million_parameters() -> None:
    total = sum(layer("Meta-Llama-3.1-8B").values())
    assert total == 218_112_000


def test_keys_and_values_are_repeated_beyond_their_heads() -> None:
    once, twice = layer("Qwen3-30B-A3B", tensor=4)["qkv_proj"], layer("Qwen3-30B-A3B", tensor=8)["qkv_proj"]
    # 32 heads of queries are halved; one head of keys and one of values stay.
    assert once == (8 + 2) * 128 * 2048
    assert twice == (4 + 2) * 128 * 2048


def test_latent_compression_is_on_each_gpu() -> None:
    assert layer("DeepSeek-R1")["kv_a_proj"] == layer("DeepSeek-R1", tensor=8)["kv_a_proj"]
    assert layer("DeepSeek-R1")["W_UV"] == 8 * layer("DeepSeek-R1", tensor=8)["W_UV"]


def test_indexer_of_sparse_attention_is_counted() -> None:
    assert "wk" in layer("DeepSeek-V3.2")
    assert "wk" not in layer("DeepSeek-R1")


@pytest.mark.parametrize("experts", [False, True])
def test_experts_are_divided_either_way(experts: bool) -> None:
    whole, part = layer("Qwen3-30B-A3B"), layer("Qwen3-30B-A3B", tensor=4, experts=experts)
    assert whole["w13"] == 4 * part["w13"]
    assert whole["gate"] == part["gate"]


def test_layers_of_nemotron_h_have_one_part_each() -> None:
    assert "in_proj" in layer("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 0)
    assert "w13" in layer("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 1)
    assert "qkv_proj" in layer("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 5)


def test_vocabulary_is_padded_and_divided() -> None:
    assert elements(embedding_tensors(model("Qwen3-8B"), 2)) == 151_936 * 4096 // 2
    assert elements(head_tensors(model("Qwen3-8B"), 1)) == 151_936 * 4096
