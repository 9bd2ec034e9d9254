from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.sizing import config, model
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.quantization import (
    SCHEMES,
    Quantization,
    parse_quantization,
    quantization_of,
    unquantized_size,
)
from vllm_operator.sizing.tensor import Tensor

LINEAR = Tensor("q_proj", 4096, 4096, linear=True, names=("layers.0.self_attn.q_proj",))
GATE = Tensor("gate", 128, 4096, names=("layers.0.mlp.gate",))
EXPERT = Tensor("w2", 4096, 1024, linear=True, experts=8, names=("layers.3.mlp.experts.0.down_proj",))


def parsed(**fields: Any) -> Quantization:
    return parse_quantization({"quantization_config": fields}, {})


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("fp8", 8 + 32 / 4096),
        ("fp8-block", 8 + 32 / 128**2),
        ("int8", 8 + 32 / 4096),
        ("gptq", 4 + 16 / 128),
        ("awq", 4 + 20 / 128),
        ("mxfp4", 4.25),
        ("nvfp4", 4.5),
        ("bitsandbytes", 4.5),
        ("bitsandbytes-8bit", 8 + 32 / 4096),
    ],
)
def test_bits_of_a_weight_with_its_scales(name: str, bits: float) -> None:
    assert SCHEMES[name].size(4096, 4096) * 8 / 4096**2 == pytest.approx(bits)


@pytest.mark.parametrize(
    ("fields", "name", "bits"),
    [
        ({"quant_method": "fp8"}, "fp8", 8),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", 8),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "int4", 4),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, "int8", 8),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "int4", 4),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes-4bit", 4),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes-8bit", 8),
        ({"quant_method": "mxfp4"}, "mxfp4", 4),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", 4),
        ({"quantization": {"quant_algo": "FP8"}, "quant_method": "modelopt"}, "fp8", 8),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 32}}
                },
            },
            "int4",
            4,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
            8,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "int"}}},
            },
            "int8",
            8,
        ),
    ],
)
def test_methods_of_published_checkpoints(fields: dict[str, Any], name: str, bits: int) -> None:
    scheme = parsed(**fields).scheme
    assert scheme is not None
    assert (scheme.name, scheme.bits) == (name, bits)


@pytest.mark.parametrize("method", ["quip", "", "gguf"])
def test_unknown_method_is_refused_rather_than_guessed(method: str) -> None:
    with pytest.raises(ConfigError, match=r"--weights-gib|size of the file"):
        parsed(quant_method=method, x=1)


def test_head_and_router_keep_their_type() -> None:
    quantization = parsed(quant_method="fp8")
    assert quantization.of(LINEAR) is SCHEMES["fp8"]
    assert quantization.of(GATE) is None
    assert quantization.of(Tensor("lm_head", 8, 8, linear=True, names=("lm_head",))) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn",
        "model.layers.*.self_attn",
        "re:.*self_attn.*",
        "self_attn",
        "model.language_model.layers.0.self_attn*",
    ],
)
def test_ignored_modules_keep_their_type(pattern: str) -> None:
    quantization = parsed(quant_method="fp8", ignored_layers=[pattern])
    assert quantization.of(LINEAR) is None
    assert quantization.of(EXPERT) is not None


def test_layer_1_does_not_match_layer_10() -> None:
    quantization = parsed(quant_method="fp8", ignore=["model.layers.1.self_attn"])
    other = Tensor("q_proj", 8, 8, linear=True, names=("layers.10.self_attn.q_proj",))
    assert quantization.of(other) is not None


def test_broken_pattern_matches_nothing() -> None:
    assert parsed(quant_method="fp8", ignore=["re:("]).of(LINEAR) is not None


def test_only_experts_of_gpt_oss_are_quantized() -> None:
    shape = model("gpt-oss-20b")
    quantization = parse_quantization(shape.root, shape.config)
    assert quantization.of(LINEAR) is None
    assert quantization.of(EXPERT) is SCHEMES["mxfp4"]


def test_attention_and_shared_experts_of_kimi_are_not() -> None:
    shape = model("Kimi-K2.5")
    quantization = parse_quantization(shape.root, shape.config)
    scheme = quantization.of(EXPERT)
    assert scheme is not None
    assert (scheme.bits, scheme.group) == (4, 32)
    assert quantization.of(LINEAR) is None


def test_mixed_precision_of_modelopt() -> None:
    quantization = parsed(
        quant_method="modelopt",
        quantization={
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {"model.layers.3.mlp.experts": {"quant_algo": "NVFP4"}},
        },
    )
    assert quantization.of(EXPERT) is SCHEMES["nvfp4"]
    assert quantization.of(LINEAR) is None


def test_option_quantizes_an_unquantized_checkpoint_only() -> None:
    assert quantization_of("fp8", config("Qwen3-8B"), {}).scheme is SCHEMES["fp8"]
    assert quantization_of("fp8", config("gpt-oss-20b"), {}).scheme is SCHEMES["mxfp4"]
    assert quantization_of("", config("Qwen3-8B"), {}).scheme is None


def test_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="known are"):
        quantization_of("quip", config("Qwen3-8B"), {})


def test_unquantized_size_counts_the_type() -> None:
    assert unquantized_size(Tensor("norm", 4096, 1), "bfloat16") == 8192
    assert unquantized_size(Tensor("A", 4096, 1, dtype="float32"), "bfloat16") == 16384
