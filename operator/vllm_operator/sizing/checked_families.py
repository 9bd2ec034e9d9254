"""Families whose weights and KV cache were compared with those of models that vLLM built."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_operator.sizing.model import ModelShape

LANGUAGE_MODELS = frozenset(
    """
    arcee axk1 cohere cohere2 cohere2_moe cwm deepseek_v2 deepseek_v3 deepseek_v32 ernie4_5 ernie4_5_moe
    exaone4 exaone_moe falcon falcon_h1 falcon_mamba flex_olmo gemma gemma2 gemma3 gemma4 glm glm4 glm4v
    glm_moe_dsa glm_ocr gpt2 gpt_bigcode gpt_neox gpt_oss gptj granite granite_swa granitemoe granitemoe_swa
    granitemoeshared hyperclovax jais2 jamba kimi_k2 laguna llama llama4 mamba mamba2 mellum mimo_v2_flash
    minicpm3 minimax_m2 ministral3 mistral mixtral nemotron_h olmo olmo2 olmo3 olmoe opt paddleocr_vl phi phi3
    qwen2 qwen2_5_omni qwen2_5_vl qwen2_moe qwen2_vl qwen3 qwen3_5 qwen3_5_moe qwen3_moe qwen3_next qwen3_vl
    qwen3_vl_moe smollm3 stablelm starcoder2 vaultgemma whisper zamba2
    """.split()  # noqa: SIM905
)
"""`model_type` of language models: tests/data/sizing/built.yaml and families.yaml, vLLM 0.32.0."""

ENCODERS = frozenset(
    """
    audioflamingo3_encoder clip_vision_model exaone4_5_vision gemma4_vision glm4v_vision glm_ocr_vision
    idefics3_vision llama4_vision_model moonvit paddleocr_vl_vision pixtral qwen2_5_omni_audio_encoder
    qwen2_5_omni_vision_encoder qwen2_5_vl qwen2_5_vl_vision qwen2_audio_encoder qwen2_vl qwen2_vl_vision
    qwen3_5 qwen3_5_moe qwen3_5_moe_vision qwen3_5_vision qwen3_vl qwen3_vl_moe qwen3_vl_vision
    siglip_vision_model smolvlm_vision
    """.split()  # noqa: SIM905
)
"""`model_type` of vision and audio encoders, from the same models."""


def is_generic(model: ModelShape) -> bool:
    """Return whether the model is sized as a decoder of a common shape, because its family was not compared."""
    return model.model_type not in LANGUAGE_MODELS


def doubts(model: ModelShape) -> Iterator[str]:
    """Yield what is uncertain about the family, as sentences."""
    if is_generic(model):
        name = model.model_type or "of the config.json"
        yield (
            f"The family {name[:60]} was not compared with vLLM: it is sized as a generic decoder, with twice the "
            "margin; --weights-gib or the safetensors files make the weights sure"
        )
    unknown = [str(tower.get("model_type")) for tower in model.towers if tower.get("model_type") not in ENCODERS]
    if unknown:
        yield f"The size of the encoder {unknown[0][:60]} is approximate"
