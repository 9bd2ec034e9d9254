from __future__ import annotations

import pytest

from tests.helpers.sizing import model, options, sized
from vllm_operator.sizing.advice import (
    advise,
    compare_quantizations,
    concurrency_at,
    smallest_fit,
    tensor_sizes,
)
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.gpus import find_device


def test_sizes_divide_heads_and_width() -> None:
    assert tensor_sizes(model("Meta-Llama-3.1-8B")) == (1, 2, 4, 8)
    assert tensor_sizes(model("gpt-oss-20b")) == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("name", "gpu", "gpus"),
    [("Meta-Llama-3.1-8B", "H100", 1), ("Meta-Llama-3.1-70B", "H100", 4), ("Meta-Llama-3.1-70B", "H200", 2)],
)
def test_fewest_gpus(name: str, gpu: str, gpus: int) -> None:
    found = smallest_fit(model(name), options(max_model_len=16_384), find_device(gpu))
    assert found is not None
    assert found.division.gpus == gpus
    assert found.fits


def test_large_model_needs_several_nodes() -> None:
    found = smallest_fit(model("DeepSeek-R1"), options(max_model_len=8192), find_device("A100-80GB"))
    assert found is not None
    assert (found.division.tensor, found.division.pipeline) == (8, 2)


def test_no_number_of_small_cards_fits() -> None:
    assert smallest_fit(model("Kimi-K2-Instruct"), options(max_model_len=8192), find_device("T4")) is None


def test_concurrency_falls_with_the_context() -> None:
    result = sized("Meta-Llama-3.1-8B", max_model_len=8192)
    assert concurrency_at(result, 4096) == pytest.approx(2 * result.capacity.concurrency)


def test_quantizations_are_compared_with_what_the_card_supports() -> None:
    compared = {
        item.note.name: item for item in compare_quantizations(model("Qwen3-32B"), options(), find_device("A100"))
    }
    assert compared["fp8"].support == "weights only"
    assert compared["int8"].support == "native"
    assert compared["none"].result.weights > 1.8 * compared["fp8"].result.weights
    assert compared["awq"].result.capacity.tokens > compared["fp8"].result.capacity.tokens
    assert all(item.note.source.startswith("https://") for name, item in compared.items() if name != "none")


def test_quantized_checkpoint_is_not_compared() -> None:
    with pytest.raises(ConfigError, match="unquantized model"):
        compare_quantizations(model("Qwen3-32B-FP8"), options(), find_device("H100"))


@pytest.mark.parametrize(
    ("name", "gpu", "fields", "words"),
    [
        ("Meta-Llama-3.1-70B", "H100", {"tp": 1}, "weights leave no memory"),
        ("Meta-Llama-3.1-8B", "A10G", {"max_model_len": 131_072}, "set --max-model-len to"),
        ("Qwen3-30B-A3B", "H100", {"tp": 8}, "8 GPUs keep 2 copies"),
        ("DeepSeek-R1", "H200", {"tp": 8}, "whole latent KV cache"),
        ("Qwen3-8B", "L40S", {"tp": 2}, "no NVLink"),
        ("Meta-Llama-3.1-8B", "H100", {"tp": 3}, "sizes are 1, 2, 4, 8"),
        ("Meta-Llama-3.1-405B", "H100", {"tp": 16}, "within a node"),
        ("Qwen3-8B", "H100", {"tp": 2, "max_model_len": 8192}, "replicas with fewer GPUs"),
    ],
)
def test_advice_names_the_way_out(name: str, gpu: str, fields: dict[str, int], words: str) -> None:
    chosen, shape, device = options(**fields), model(name), find_device(gpu)  # type: ignore[arg-type]
    result = sized(name, gpu, **fields)  # type: ignore[arg-type]
    assert any(words in line for line in advise(shape, chosen, device, result))


def test_hybrid_model_with_too_many_sequences_is_told_the_number() -> None:
    chosen = options("0.26.0", max_model_len=8192, gpu_memory_utilization=0.75)
    result = sized("Qwen3.5-27B", "H100", vllm="0.26.0", max_model_len=8192, gpu_memory_utilization=0.75)
    lines = advise(model("Qwen3.5-27B"), chosen, find_device("H100"), result)
    assert any("set --max-num-seqs to" in line for line in lines)
