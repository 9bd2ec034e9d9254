from __future__ import annotations

from dataclasses import replace

from tests.helpers.sizing import model
from vllm_operator.sizing.model import parse_model
from vllm_operator.sizing.tensors import elements
from vllm_operator.sizing.tower_tensors import tower_tensors


def test_vision_tower_of_qwen3_vl_has_576_million_parameters() -> None:
    # 8.77 billion in all (https://huggingface.co/Qwen/Qwen3-VL-8B-Instruct), 8.19 of them in the language model.
    assert 0.54e9 < elements(tower_tensors(model("Qwen3-VL-8B-Instruct"))) < 0.64e9


def test_text_model_has_none() -> None:
    assert list(tower_tensors(model("Qwen3-8B"))) == []


def test_tower_of_unknown_shape_counts_nothing() -> None:
    assert list(tower_tensors(replace(model("Qwen3-8B"), towers=({"model_type": "new"},)))) == []


def test_audio_encoder_of_whisper_counts() -> None:
    shape = parse_model(
        {
            "model_type": "whisper",
            "d_model": 1280,
            "decoder_layers": 32,
            "encoder_layers": 32,
            "decoder_attention_heads": 20,
            "encoder_ffn_dim": 5120,
            "decoder_ffn_dim": 5120,
            "vocab_size": 51866,
            "max_target_positions": 448,
            "num_mel_bins": 128,
        }
    )
    # The encoder of whisper-large-v3 has 635 million parameters.
    assert 0.62e9 < elements(tower_tensors(shape)) < 0.66e9
