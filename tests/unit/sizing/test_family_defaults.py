from __future__ import annotations

from vllm_operator.sizing.family_defaults import complete, default_of
from vllm_operator.sizing.model import parse_model


def test_missing_fields_have_the_defaults_of_the_family() -> None:
    # The text_config of google/gemma-3-4b-it names no vocabulary and no heads.
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    shape = parse_model({"model_type": "gemma3", "text_config": text})
    assert (shape.vocabulary, shape.heads, shape.kv_heads, shape.head_size) == (262_208, 8, 4, 256)
    assert shape.tied


def test_stated_fields_win_also_under_another_name() -> None:
    filled = complete({"model_type": "falcon", "n_head": 128, "n_layer": 60})
    assert "num_attention_heads" not in filled
    assert "num_hidden_layers" not in filled


def test_null_is_a_statement() -> None:
    assert complete({"model_type": "mistral", "sliding_window": None})["sliding_window"] is None
    assert complete({"model_type": "mistral"})["sliding_window"] == 4096


def test_missing_parts_are_filled_unless_the_file_is_flat() -> None:
    assert complete({"model_type": "gemma3"})["vision_config"]["num_hidden_layers"] == 12
    assert "text_config" not in complete({"model_type": "qwen2_vl", "hidden_size": 3584})


def test_unknown_family_stays_as_it_is() -> None:
    assert complete({"model_type": "no-such-family", "a": 1}) == {"model_type": "no-such-family", "a": 1}
    assert default_of("no-such-family", "hidden_size") is None
    assert complete({"model_type": 7}) == {"model_type": 7}
