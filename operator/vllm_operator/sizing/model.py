"""The shape of a model, as its config.json gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.sizing.config_fields import ConfigError, fraction, integer, part, strings, text
from vllm_operator.sizing.family_defaults import complete
from vllm_operator.sizing.layer_plan import head_sizes, layers_of
from vllm_operator.sizing.layers import Layer
from vllm_operator.sizing.units import DTYPE_BYTES

TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "llm_backbone_config")
"""Where multimodal models keep the config of their language model."""

TOWER_PARTS = ("vision_config", "vision_tower_config", "vit_config", "vision_encoder", "audio_config", "audio_encoder")
"""Where multimodal models keep the configs of their encoders."""

UNSUPPORTED = {
    "deepseek_v4": "its compressed KV cache has another layout",
    "t5": "vLLM does not serve T5 models",
    "mllama": "vLLM 0.10.2 and later does not serve cross-attention vision models (mllama)",
}
"""Families that sizing knows no arithmetic for, by model_type, and why."""

UNSUPPORTED_FIELDS = {
    "compress_ratios": "its compressed KV cache has another layout",
    "latent_moe_use_norm": "the width of its latent experts is not in config.json",
    "sparse_attention_config": "the index of its sparse attention has another layout",
}
"""Fields that mark a model that sizing knows no arithmetic for, and why."""

_TIED_BY_DEFAULT = {
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma3n",
    "gemma4",
    "gpt2",
    "gpt-sw3",
    "opt",
    "bloom",
    "mpt",
    "falcon",
    "cohere",
    "cohere2",
    "starcoder2",
    "gpt_bigcode",
    "whisper",
    "lfm2",
    "lfm2_moe",
}
"""Families whose class in Transformers ties embeddings and head when config.json leaves it out."""

_PLAIN_MLP = {
    "gpt2",
    "gpt-sw3",
    "gpt_bigcode",
    "gpt_neox",
    "gptj",
    "opt",
    "bloom",
    "mpt",
    "falcon",
    "phi",
    "arcee",
    "jais2",
    "starcoder2",
    "persimmon",
    "nemotron",
    "nemotron_h",
    "whisper",
    "bert",
    "roberta",
    "xlm-roberta",
}
"""Families whose MLP has two matrices, up and down, without a gate."""


@dataclass(frozen=True)
class ModelShape:
    """Everything about a model that decides how much memory it takes.

    Attributes:
        config: the config of the language model; `root` is the whole config.json.
        layers: the blocks, in their order.
        towers: the configs of vision and audio encoders.
        mlp_size: width of the dense MLP.
        experts: routed experts of a layer; 0 without experts. `expert_size` is the width of one.
        experts_per_token: routed experts that see a token.
        shared_expert_size: width of the experts that see every token; 0 without.
    """

    root: Mapping[str, Any]
    config: Mapping[str, Any]
    model_type: str
    architecture: str
    dtype: str
    hidden_size: int
    vocabulary: int
    max_position: int
    heads: int
    kv_heads: int
    head_size: int
    layers: tuple[Layer, ...]
    towers: tuple[Mapping[str, Any], ...]
    mlp_size: int
    gated: bool
    experts: int
    expert_size: int
    experts_per_token: int
    shared_expert_size: int
    tied: bool
    rotary_size: int

    @property
    def is_latent(self) -> bool:
        """Attention keeps one compressed vector for all heads (MLA)."""
        return "kv_lora_rank" in self.config and self.config.get("kv_lora_rank") is not None and self._has_latent_layer

    @property
    def _has_latent_layer(self) -> bool:
        return any(type(cache).__name__ == "LatentCache" for layer in self.layers for cache in layer.caches)

    @property
    def is_hybrid(self) -> bool:
        """Some layers keep a recurrent state instead of keys and values."""
        return any(type(cache).__name__ == "StateCache" for layer in self.layers for cache in layer.caches)

    @property
    def encoder_layers(self) -> int:
        """Layers of the text or audio encoder of an encoder-decoder model; 0 for a decoder."""
        return integer(self.config, "encoder_layers", default=0, low=0) if self.model_type == "whisper" else 0


def parse_model(root: Mapping[str, Any]) -> ModelShape:
    """Return the shape of the model that a config.json describes.

    Raises:
        ConfigError: a field is missing or out of bounds, or the family is one that sizing does not know.
    """
    if not isinstance(root, Mapping):
        raise ConfigError("config.json: the top level is no object")
    stated, root = root, complete(root)
    config = text_part(root)
    model_type = text(config, "model_type", default=text(root, "model_type")).removesuffix("_text")
    _refuse_unsupported(root, model_type)
    hidden = integer(config, "hidden_size", "n_embd", "d_model", "model_dim")
    heads, kv_heads, head_size = head_sizes(config, model_type, hidden)
    dtype = text(config, "torch_dtype", "dtype", default=text(root, "torch_dtype", "dtype", default="bfloat16"))
    experts = _experts(config)
    return ModelShape(
        root=root,
        config=config,
        model_type=model_type,
        architecture=next(iter(strings(root, "architectures")), ""),
        dtype=dtype if dtype in DTYPE_BYTES else "bfloat16",
        hidden_size=hidden,
        vocabulary=integer(config, "vocab_size", "padded_vocab_size"),
        max_position=_max_position(config),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        layers=layers_of(config, model_type, dtype if dtype in DTYPE_BYTES else "bfloat16", experts > 0),
        towers=tuple(tower for name in TOWER_PARTS if (tower := _tower(root, name)) is not None),
        mlp_size=_mlp_size(config, model_type, hidden),
        gated=model_type not in _PLAIN_MLP,
        experts=experts,
        expert_size=_expert_size(config, model_type, hidden),
        experts_per_token=integer(
            config,
            "num_experts_per_tok",
            "experts_per_token",
            "num_experts_per_token",
            "moe_topk",
            "top_k_experts",
            "moe_k",
            default=1,
        )
        if experts
        else 0,
        shared_expert_size=_shared_expert_size(config, model_type) if experts else 0,
        tied=_is_tied(stated, root, model_type),
        rotary_size=_rotary_size(config, head_size),
    )


def text_part(root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of the language model: the whole config.json, or a part of a multimodal one."""
    inner = part(root, *TEXT_PARTS)
    if inner is None:
        return root
    nested = part(inner, "text_config")
    return nested if nested is not None else inner


def _tower(root: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    thinker = part(root, "thinker_config")
    return part(root, name) or (part(thinker, name) if thinker else None)


def _refuse_unsupported(root: Mapping[str, Any], model_type: str) -> None:
    for family in (model_type, text(root, "model_type")):
        if reason := UNSUPPORTED.get(family):
            raise ConfigError(f"config.json: model_type {family} cannot be sized: {reason}")
    for field, reason in UNSUPPORTED_FIELDS.items():
        if text_part(root).get(field):
            raise ConfigError(f"config.json: a model with {field} cannot be sized: {reason}")


def _max_position(config: Mapping[str, Any]) -> int:
    names = (
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "seq_length",
        "model_max_length",
        "max_target_positions",
        "max_sequence_length",
    )
    return integer(config, *names, default=2048)


def _experts(config: Mapping[str, Any]) -> int:
    names = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts", "num_moe_experts")
    number = integer(config, *names, default=0, low=0)
    # One expert is an MLP: Jamba-like families write it for their dense models.
    return number if number > 1 else 0


def _mlp_size(config: Mapping[str, Any], model_type: str, hidden: int) -> int:
    names: tuple[str, ...] = (
        "dense_intermediate_size",
        "intermediate_size",
        "n_inner",
        "ffn_dim",
        "ffn_hidden_size",
        "decoder_ffn_dim",
        "block_ff_dim",
    )
    if model_type == "llama4":
        names = ("intermediate_size_mlp", *names)
    return integer(config, *names, default=4 * hidden)


def _expert_size(config: Mapping[str, Any], model_type: str, hidden: int) -> int:
    own = ("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size")
    return integer(config, *own, "intermediate_size", "ffn_hidden_size", default=4 * hidden)


def _shared_expert_size(config: Mapping[str, Any], model_type: str) -> int:
    named = (
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
        "share_expert_dim",
        "moe_shared_intermediate_size",
    )
    size = integer(config, *named, default=0, low=0)
    if size:
        return size
    if model_type == "llama4":
        return integer(config, "intermediate_size")
    shared = integer(config, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", default=0, low=0)
    return shared * integer(config, "moe_intermediate_size", default=0, low=0)


def _is_tied(stated: Mapping[str, Any], root: Mapping[str, Any], model_type: str) -> bool:
    """Return whether the output head is the embeddings: what the config.json says counts before the defaults."""
    for place in (text_part(stated), stated, text_part(root)):
        value = place.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
    return model_type in _TIED_BY_DEFAULT


def _rotary_size(config: Mapping[str, Any], head_size: int) -> int:
    rope = integer(config, "qk_rope_head_dim", "rotary_dim", default=0, low=0)
    if rope:
        return rope
    parameters = part(config, "rope_parameters", "rope_scaling") or {}
    default = fraction(parameters, "partial_rotary_factor", 1.0)
    return int(head_size * fraction(config, "partial_rotary_factor", fraction(config, "rotary_pct", default)))
