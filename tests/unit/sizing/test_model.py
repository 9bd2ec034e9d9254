from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.sizing import CONFIGS, config, model
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.model import parse_model, text_part

SUPPORTED = sorted(
    path.stem for path in CONFIGS.glob("*.json") if "quant_config" not in path.stem and "V4" not in path.stem
)


@pytest.mark.parametrize("name", SUPPORTED)
def test_each_family_is_parsed(name: str) -> None:
    shape = model(name)
    assert shape.layers
    assert shape.vocabulary > 30_000
    assert (shape.experts > 0) == (shape.experts_per_token > 0)


def test_language_model_of_a_multimodal_config_is_found() -> None:
    assert text_part(config("Qwen3-VL-8B-Instruct"))["hidden_size"] == 4096
    assert len(model("Qwen3-VL-8B-Instruct").towers) == 1


@pytest.mark.parametrize(
    ("name", "tied"), [("Qwen3-0.6B", True), ("Qwen3-8B", False), ("gemma-4-26B-A4B", True), ("gpt-oss-20b", False)]
)
def test_tied_embeddings(name: str, tied: bool) -> None:
    assert model(name).tied == tied


def test_family_ties_embeddings_by_default() -> None:
    fields = {
        "model_type": "gemma2",
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 99,
    }
    assert parse_model(fields).tied


def test_shared_experts_count() -> None:
    assert model("DeepSeek-R1").shared_expert_size == 2048
    assert model("Qwen3-Next-80B-A3B-Thinking").shared_expert_size == 512
    assert model("Llama-4-Scout-17B-16E-Instruct").shared_expert_size == 8192


def test_hybrid_and_latent_models_are_recognised() -> None:
    assert model("Qwen3.5-27B").is_hybrid
    assert model("DeepSeek-R1").is_latent
    assert not model("Qwen3-8B").is_hybrid
    assert not model("Qwen3-8B").is_latent


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_type": "t5"}, "model_type t5"),
        ({"model_type": "llama", "block_configs": [1]}, "block_configs"),
        ({"model_type": "no-such-family"}, "hidden_size is missing"),
    ],
)
def test_models_that_cannot_be_sized_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_model(fields)


def test_deepseek_v4_is_refused_rather_than_guessed() -> None:
    with pytest.raises(ConfigError, match="KV cache has another layout"):
        model("DeepSeek-V4-Flash")


def test_list_is_no_config() -> None:
    with pytest.raises(ConfigError, match="no object"):
        parse_model([])  # type: ignore[arg-type]
