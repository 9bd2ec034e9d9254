from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.sizing import config, model
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.model import parse_model
from vllm_operator.sizing.rotary_tensors import rotary_tensors
from vllm_operator.sizing.tensors import elements


def scaled(scaling: dict[str, Any], **more: Any) -> int:
    return elements(rotary_tensors(parse_model({**config("Qwen3-8B"), "rope_scaling": scaling, **more})))


def test_table_has_a_row_for_each_position() -> None:
    assert elements(rotary_tensors(model("Meta-Llama-3.1-8B"))) == 131_072 * 128


def test_gemma_has_a_table_for_each_kind_of_layer() -> None:
    assert elements(rotary_tensors(model("gemma-4-26B-A4B"))) == 262_144 * (256 + 512)


@pytest.mark.parametrize(
    ("scaling", "rows"),
    [
        ({"rope_type": "default"}, 40_960),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 40_960),
        ({"rope_type": "linear", "factor": 8.0}, 8 * 40_960),
        ({"type": "dynamic", "factor": 2.0}, 2 * 40_960),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}, 4 * 32_768),
        ({"rope_type": "longrope", "original_max_position_embeddings": 4096}, 4096 + 40_960),
        ({"rope_type": "default", "mrope_section": [16, 24, 24]}, 4 * 40_960),
    ],
)
def test_scaled_positions_make_longer_tables(scaling: dict[str, Any], rows: int) -> None:
    assert scaled(scaling) == rows * 128


def test_gemma_3_scales_its_global_layers_only() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    text |= {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "sliding_window": 1024}
    shape = parse_model({"model_type": "gemma3", "text_config": text, "vision_config": {}})
    assert elements(rotary_tensors(shape)) == 131_072 * 256 * (8 + 1)


@pytest.mark.parametrize("factor", [True, "8", -1, 0, 1e9])
def test_odd_factor_is_refused(factor: object) -> None:
    with pytest.raises(ConfigError, match=r"rope_scaling\.factor"):
        scaled({"rope_type": "linear", "factor": factor})
