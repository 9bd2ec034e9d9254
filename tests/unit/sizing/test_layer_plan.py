from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.helpers.sizing import config, model
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.layer_plan import head_sizes, layers_of
from vllm_operator.sizing.layers import AttentionCache, LatentCache, StateCache


def kinds(name: str) -> Counter[str]:
    return Counter(_kind(cache) for layer in model(name).layers for cache in layer.caches)


def _kind(cache: object) -> str:
    if isinstance(cache, StateCache):
        return cache.kind
    if isinstance(cache, LatentCache):
        return "latent"
    assert isinstance(cache, AttentionCache)
    return "sliding" if cache.window else "chunked" if cache.chunk else "full"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Meta-Llama-3.1-8B", {"full": 32}),
        ("gpt-oss-20b", {"sliding": 12, "full": 12}),
        ("gemma-4-26B-A4B", {"sliding": 25, "full": 5}),
        ("Llama-4-Scout-17B-16E-Instruct", {"chunked": 36, "full": 12}),
        ("DeepSeek-R1", {"latent": 61}),
        ("Qwen3-Next-80B-A3B-Thinking", {"gated_delta_net": 36, "full": 12}),
        ("Qwen3.5-27B", {"gated_delta_net": 48, "full": 16}),
        ("Nemotron-H-56B-Base-8K", {"mamba2": 54, "full": 10}),
        ("MiMo-V2-Flash", {"sliding": 39, "full": 9}),
        ("Step-3.7-Flash", {"sliding": 33, "full": 12}),
    ],
)
def test_kinds_of_layers_of_each_family(name: str, expected: dict[str, int]) -> None:
    assert kinds(name) == expected


BASE: dict[str, Any] = {
    "hidden_size": 2048,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
    "vocab_size": 1000,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
}


@pytest.mark.parametrize(
    ("model_type", "fields", "expected"),
    [
        ("jamba", {"attn_layer_period": 8, "attn_layer_offset": 4}, {"full": 1, "mamba1": 7}),
        ("bamba", {"attn_layer_indices": [3, 7]}, {"full": 2, "mamba2": 6}),
        ("falcon_h1", {}, {"full": 8, "mamba2": 8}),
        ("mamba2", {}, {"mamba2": 8}),
        ("minimax_text_01", {"attn_type_list": [0, 0, 0, 1, 0, 0, 0, 1]}, {"linear": 6, "full": 2}),
        ("lfm2", {"layer_types": ["conv", "conv", "full_attention", "conv"] * 2}, {"short_conv": 6, "full": 2}),
        ("gemma3_text", {"sliding_window": 512}, {"sliding": 7, "full": 1}),
        ("gemma2", {"sliding_window": 4096}, {"sliding": 4, "full": 4}),
        ("mistral", {"sliding_window": 4096}, {"sliding": 8}),
        ("qwen2", {"sliding_window": 4096, "use_sliding_window": False}, {"full": 8}),
        ("granitemoehybrid", {"layer_types": ["mamba", "attention"] * 4}, {"mamba2": 4, "full": 4}),
        ("granitemoehybrid", {"layer_types": ["linear_attention", "full_attention"] * 4}, {"mamba2": 4, "full": 4}),
        (
            "kimi_linear",
            {
                "kv_lora_rank": 512,
                "linear_attn_config": {"full_attn_layers": [4, 8], "num_heads": 8, "head_dim": 128},
            },
            {"kda": 6, "latent": 2},
        ),
    ],
)
def test_kinds_of_layers_by_rule(model_type: str, fields: dict[str, Any], expected: dict[str, int]) -> None:
    layers = layers_of({**BASE, **fields}, model_type.removesuffix("_text"), "bfloat16", False)
    assert Counter(_kind(cache) for layer in layers for cache in layer.caches) == expected


def test_whisper_decoders_have_self_and_cross_attention() -> None:
    fields = {"d_model": 1280, "decoder_layers": 4, "decoder_attention_heads": 20, "max_source_positions": 1500}
    layers = layers_of(fields, "whisper", "float16", False)
    assert [cache.cross for cache in layers[0].caches if isinstance(cache, AttentionCache)] == [None, 1500]


def test_first_layers_of_deepseek_are_dense() -> None:
    assert [layer.mlp for layer in model("DeepSeek-R1").layers][:4] == ["dense", "dense", "dense", "moe"]


@pytest.mark.parametrize(
    ("model_type", "fields", "heads"),
    [
        ("llama", {"num_key_value_heads": 8}, (16, 8, 128)),
        ("gpt2", {}, (16, 16, 128)),
        ("gpt_bigcode", {"multi_query": True}, (16, 1, 128)),
        ("falcon", {"multi_query": True, "num_kv_heads": 16}, (16, 1, 128)),
        ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 8}, (16, 8, 128)),
        ("chatglm", {"multi_query_attention": True, "multi_query_group_num": 2}, (16, 2, 128)),
        ("qwen3", {"head_dim": 64}, (16, 16, 64)),
    ],
)
def test_heads_of_mha_gqa_and_mqa(model_type: str, fields: dict[str, Any], heads: tuple[int, int, int]) -> None:
    assert head_sizes({**BASE, **fields}, model_type, 2048) == heads


def test_unknown_kind_of_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="'retention'"):
        layers_of({**BASE, "layer_types": ["retention"] * 8}, "retnet", "bfloat16", False)


def test_too_few_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="layer_types has 1 entries for 8 layers"):
        layers_of({**BASE, "layer_types": ["full_attention"]}, "qwen3", "bfloat16", False)


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 2000 layers"):
        layers_of({**BASE, "num_hidden_layers": 100_000}, "llama", "bfloat16", False)


def test_configs_of_all_files_have_layers() -> None:
    assert len(model("Qwen3-8B").layers) == config("Qwen3-8B")["num_hidden_layers"]
