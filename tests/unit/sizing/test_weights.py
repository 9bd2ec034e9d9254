from __future__ import annotations

import pytest

from tests.helpers.sizing import model
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.quantization import NONE, parse_quantization
from vllm_operator.sizing.units import GIB
from vllm_operator.sizing.weights import HOPPER, MARLIN, WeightBytes, stage_weights, whole_weights


def whole(name: str) -> WeightBytes:
    shape = model(name)
    return whole_weights(shape, parse_quantization(shape.root, shape.config), shape.dtype)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # Parameters of the models' cards.
        ("Meta-Llama-3.1-8B", 8.03),
        ("Meta-Llama-3.1-70B", 70.6),
        ("Meta-Llama-3.1-405B", 405.9),
        ("Qwen3-0.6B", 0.596),
        ("Qwen3-32B", 32.8),
        ("Qwen3-30B-A3B", 30.5),
        ("Qwen3-235B-A22B-FP8", 235.1),
        ("Qwen3-VL-8B-Instruct", 8.77),
        ("Qwen3-Next-80B-A3B-Thinking", 80.0),
        ("DeepSeek-R1", 671.0),
        ("Kimi-K2-Instruct", 1026.0),
        ("gpt-oss-20b", 20.9),
        ("gpt-oss-120b", 116.8),
        ("Mixtral-8x7B-v0.1", 46.7),
        ("Llama-4-Scout-17B-16E-Instruct", 109.0),
        ("MiniMax-M2.5", 229.0),
        ("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 31.6),
        ("NVIDIA-Nemotron-3-Super-120B-A12B-FP8", 120.6),
    ],
)
def test_parameters_are_those_of_the_model_card(name: str, billions: float) -> None:
    assert whole(name).parameters / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gib"),
    [("Meta-Llama-3.1-8B", 14.9888), ("Qwen3-8B", 15.2683), ("gpt-oss-120b", 65.9651), ("gemma-4-26B-A4B", 48.5)],
)
def test_weights_are_those_of_the_log(name: str, gib: float) -> None:
    assert whole(name).allocated / GIB == pytest.approx(gib, rel=0.003)


def test_quantized_and_unquantized_tensors_are_separate() -> None:
    parts = whole("Qwen3-32B-FP8")
    assert parts.quantized / GIB == pytest.approx(29.1, rel=0.01)
    assert parts.unquantized / GIB == pytest.approx(2.91, rel=0.01)
    assert parts.total == parts.quantized + parts.unquantized


def test_tensor_parallelism_divides_all_but_small_parts() -> None:
    shape = model("Qwen3-8B")
    (one,) = stage_weights(shape, NONE, Division(1), "bfloat16")
    (four,) = stage_weights(shape, NONE, Division(4), "bfloat16")
    assert four.total * 4 == pytest.approx(one.total, rel=0.01)


def test_stages_together_hold_the_model() -> None:
    shape = model("Meta-Llama-3.1-70B")
    parts = stage_weights(shape, NONE, Division(pipeline=4), "bfloat16")
    (one,) = stage_weights(shape, NONE, Division(), "bfloat16")
    assert sum(part.total for part in parts) == pytest.approx(one.total, rel=0.001)
    assert parts[0].total > parts[1].total


def test_latent_copies_and_rotary_tables_are_in_no_checkpoint() -> None:
    assert whole("DeepSeek-R1").derived > 1.9 * GIB
    assert whole("Meta-Llama-3.1-8B").derived == 131_072 * 128 * 2


def test_kernels_pad_experts_of_mxfp4() -> None:
    shape = model("gpt-oss-120b")
    quantization = parse_quantization(shape.root, shape.config)
    marlin = whole_weights(shape, quantization, "bfloat16", MARLIN)
    hopper = whole_weights(shape, quantization, "bfloat16", HOPPER)
    assert hopper.allocated / GIB == pytest.approx(64.38, rel=0.005)
    assert marlin.derived > hopper.derived > 0
