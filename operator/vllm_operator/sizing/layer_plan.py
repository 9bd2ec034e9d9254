"""Which layers a model has, and what each of them keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from vllm_operator.sizing.config_fields import MAX_LAYERS, ConfigError, integer, part, strings, text
from vllm_operator.sizing.layers import AttentionCache, LatentCache, Layer, LayerCache
from vllm_operator.sizing.searched_layers import searched_layers
from vllm_operator.sizing.state_layers import recurrent_cache

LATENT_TYPES = {
    "axk1",
    "bailing_hybrid",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "deepseek_vl_v2",
    "dots3_note",
    "glm_moe_dsa",
    "glm4_moe_lite",
    "kimi_k2",
    "kimi_linear",
    "kimi_vl",
    "longcat_flash",
    "pangu_ultra_moe",
}
"""Families with multi-head latent attention.

Source: `is_deepseek_mla` in vLLM's model_arch_config_convertor.py (0.32.0).
"""

_SLIDING_PATTERNS = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "cohere2": 4, "exaone4": 4, "olmo3": 4}
"""Every n-th layer has full attention, where config.json has neither layer_types nor a pattern.

Source: the configuration classes of Transformers.
"""

_ONE_WINDOW = {"mistral", "mixtral", "phi3", "phimoe", "starcoder2", "ministral"}
"""Families whose `sliding_window` holds for each layer."""


WITHOUT_ATTENTION = frozenset({"mamba", "mamba2", "falcon_mamba"})
"""Families of recurrent layers only, whose config.json has no attention heads."""


def head_sizes(config: Mapping[str, Any], model_type: str, hidden: int) -> tuple[int, int, int]:
    """Return the attention heads, the heads of keys and values, and the elements of a head."""
    none = 1 if model_type in WITHOUT_ATTENTION else None
    heads = integer(config, "num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", default=none)
    default = 1 if config.get("multi_query") is True else heads
    names: tuple[str, ...] = (
        "num_key_value_heads",
        "num_kv_heads",
        "n_head_kv",
        "multi_query_group_num",
        "num_attention_groups",
    )
    if model_type == "falcon" and not config.get("new_decoder_architecture"):
        names = ()
        default = 1 if config.get("multi_query", True) else heads
    kv_heads = integer(config, *names, default=default) if names else default
    sizes = ("head_dim", "attention_head_dim", "kv_channels", "hidden_size_per_head")
    return heads, kv_heads, integer(config, *sizes, default=hidden // heads)


def layers_of(config: Mapping[str, Any], model_type: str, dtype: str, has_experts: bool) -> tuple[Layer, ...]:
    """Return the blocks of the language model, in their order.

    Raises:
        ConfigError: there are too many, or a layer has a kind that sizing does not know.
    """
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
    listed = text(config, "hybrid_override_pattern") or strings(config, "layers_block_type")
    number = integer(config, *names, default=len(listed) or None)
    number = len(listed) or number
    if number > MAX_LAYERS:
        raise ConfigError(f"config.json: {names[0]} is {number}; at most {MAX_LAYERS} layers are sized")
    kinds = _kinds(config, model_type, number)
    if "block_configs" in config:
        return searched_layers(config, number)
    layers = [
        Layer(_caches(config, model_type, kind, dtype), _mlp(config, model_type, kind, index, has_experts))
        for index, kind in enumerate(kinds)
    ]
    return tuple(_shared(config, layers))


def _shared(config: Mapping[str, Any], layers: list[Layer]) -> list[Layer]:
    """Let the last layers read the keys and values of earlier ones, as `num_kv_shared_layers` says."""
    first = len(layers) - min(integer(config, "num_kv_shared_layers", default=0, low=0), len(layers))
    wide = 2 if config.get("use_double_wide_mlp") is True else 1
    width = wide * integer(config, "intermediate_size", default=1)
    own = width if wide > 1 else None
    shared = [replace(layer, caches=(), borrowed=layer.caches, mlp_size=own) for layer in layers[first:]]
    return layers[:first] + shared


def _kinds(config: Mapping[str, Any], model_type: str, number: int) -> list[str]:
    """Return the kind of each layer: full, sliding, chunked, or a name of a recurrent layer."""
    if pattern := text(config, "hybrid_override_pattern"):
        return [_PATTERN_LETTERS.get(letter, letter) for letter in pattern]
    named = strings(config, "layer_types") or strings(config, "layers_block_type")
    if named:
        if len(named) < number:
            raise ConfigError(f"config.json: layer_types has {len(named)} entries for {number} layers")
        return [_named_kind(name, model_type) for name in named[:number]]
    if model_type in _PERIODIC:
        return [_PERIODIC[model_type](config, index) for index in range(number)]
    return _windows(config, model_type, number)


def _windows(config: Mapping[str, Any], model_type: str, number: int) -> list[str]:
    """Return the kinds of the layers of a family that has a window for some, all or none of them."""
    if not integer(config, "sliding_window", default=0, low=0):
        return ["full"] * number
    if model_type in _SLIDING_PATTERNS:
        every = integer(config, "sliding_window_pattern", default=_SLIDING_PATTERNS[model_type])
        return ["sliding" if (index + 1) % every else "full" for index in range(number)]
    return ["sliding" if _has_one_window(config, model_type) else "full"] * number


_PATTERN_LETTERS = {"M": "mamba2", "*": "full", "-": "mlp", "E": "moe"}
"""Nemotron-H writes one letter for each layer."""


_LINEAR_KINDS = {
    "minimax_text_01": "linear",
    "minimax": "linear",
    # Transformers 5 names the Mamba layers of these so.
    "granitemoehybrid": "mamba2",
    "bamba": "mamba2",
    "zamba2": "mamba2",
}


def _named_kind(name: str, model_type: str) -> str:
    kinds = {
        "full_attention": "full",
        "attention": "full",
        "deepseek_sparse_attention": "full",
        "mlp": "mlp",
        "moe": "moe",
        "sliding_attention": "sliding",
        "chunked_attention": "chunked",
        "linear_attention": _LINEAR_KINDS.get(model_type, "gated_delta_net"),
        "mamba": "mamba2",
        "conv": "short_conv",
        "hybrid": "mamba2+full",
    }
    if name not in kinds:
        raise ConfigError(f"config.json: layer_types names {name[:40]!r}, a kind of layer that sizing does not know")
    return kinds[name]


def _has_one_window(config: Mapping[str, Any], model_type: str) -> bool:
    return config.get("use_sliding_window") is True or model_type in _ONE_WINDOW


def _jamba(config: Mapping[str, Any], index: int) -> str:
    period = integer(config, "attn_layer_period", default=8)
    offset = integer(config, "attn_layer_offset", default=4, low=0)
    return "full" if index % period == offset else "mamba1"


def _every_nth_full(config: Mapping[str, Any], index: int) -> str:
    return "full" if (index + 1) % integer(config, "full_attention_interval", default=4) == 0 else "gated_delta_net"


def _llama4(config: Mapping[str, Any], index: int) -> str:
    if not config.get("attention_chunk_size"):
        return "full"
    return "full" if (index + 1) % integer(config, "no_rope_layer_interval", default=4) == 0 else "chunked"


def _kimi_linear(config: Mapping[str, Any], index: int) -> str:
    linear = part(config, "linear_attn_config") or {}
    full = linear.get("full_attn_layers") or ()
    return "full" if index + 1 in full else "kda"


def _minimax(config: Mapping[str, Any], index: int) -> str:
    kinds = config.get("attn_type_list") or ()
    return "linear" if index < len(kinds) and kinds[index] == 0 else "full"


def _mimo(config: Mapping[str, Any], index: int) -> str:
    pattern = config.get("hybrid_layer_pattern") or ()
    return "sliding" if index < len(pattern) and pattern[index] == 1 else "full"


def _bamba(config: Mapping[str, Any], index: int) -> str:
    return "full" if index in (config.get("attn_layer_indices") or ()) else "mamba2"


_PERIODIC: Mapping[str, Callable[[Mapping[str, Any], int], str]] = {
    "jamba": _jamba,
    "qwen3_next": _every_nth_full,
    "qwen3_5": _every_nth_full,
    "qwen3_5_moe": _every_nth_full,
    "llama4": _llama4,
    "kimi_linear": _kimi_linear,
    "minimax_text_01": _minimax,
    "minimax_m1": _minimax,
    "bamba": _bamba,
    "mimo_v2_flash": _mimo,
    "mimo_v2": _mimo,
    "falcon_h1": lambda _config, _index: "mamba2+full",
    "mamba": lambda _config, _index: "mamba1",
    "falcon_mamba": lambda _config, _index: "mamba1",
    "mamba2": lambda _config, _index: "mamba2",
}
"""Families that give the kinds of their layers by a rule."""


def _caches(config: Mapping[str, Any], model_type: str, kind: str, dtype: str) -> tuple[LayerCache, ...]:
    if kind in ("mlp", "moe") or model_type in ("bert", "roberta", "xlm-roberta", "modernbert"):
        return ()
    if kind == "mamba2+full":
        return (recurrent_cache(config, "mamba2", dtype), _attention(config, model_type, "full"))
    if kind in ("full", "sliding", "chunked"):
        if model_type in LATENT_TYPES and config.get("kv_lora_rank") is not None:
            return (_latent(config),)
        own = _attention(config, model_type, kind)
        return (own, _cross(config, own)) if model_type == "whisper" else (own,)
    return (recurrent_cache(config, kind, dtype),)


def _latent(config: Mapping[str, Any]) -> LatentCache:
    size = integer(config, "kv_lora_rank") + integer(config, "qk_rope_head_dim", default=64)
    return LatentCache(size, integer(config, "index_head_dim", default=0, low=0))


def _attention(config: Mapping[str, Any], model_type: str, kind: str) -> AttentionCache:
    hidden = integer(config, "hidden_size", "n_embd", "d_model", "model_dim")
    _, kv_heads, size = head_sizes(config, model_type, hidden)
    if model_type == "minicpm3":
        # Keys and values are expanded, and values padded to the size of keys.
        size = integer(config, "qk_nope_head_dim") + integer(config, "qk_rope_head_dim")
    value = integer(config, "v_head_dim", default=size) if model_type in ("mimo_v2_flash", "mimo_v2") else size
    if model_type == "gemma4" and kind == "full":
        size = value = integer(config, "global_head_dim", default=512)
        kv_heads = integer(config, "num_global_key_value_heads", default=kv_heads)
    if model_type in ("mimo_v2_flash", "mimo_v2") and kind == "sliding":
        kv_heads = integer(config, "swa_num_key_value_heads", default=kv_heads)
        size = integer(config, "swa_head_dim", default=size)
        value = integer(config, "swa_v_head_dim", default=value)
    window = integer(config, "sliding_window", "sliding_window_size") if kind == "sliding" else None
    chunk = integer(config, "attention_chunk_size") if kind == "chunked" else None
    return AttentionCache(kv_heads, size, value, window, chunk)


def _cross(config: Mapping[str, Any], own: AttentionCache) -> AttentionCache:
    tokens = integer(config, "max_source_positions", default=1500)
    return AttentionCache(own.kv_heads, own.head_size, own.value_size, cross=tokens)


def _mlp(config: Mapping[str, Any], model_type: str, kind: str, index: int, has_experts: bool) -> str:
    """Return whether the layer has a dense MLP, experts or neither."""
    if model_type == "nemotron_h":
        return {"mlp": "dense", "moe": "moe"}.get(kind, "none")
    if model_type in ("mamba", "mamba2", "falcon_mamba"):
        return "none"
    return "moe" if has_experts and _has_experts(config, model_type, index) else "dense"


def _has_experts(config: Mapping[str, Any], model_type: str, index: int) -> bool:
    if index in (config.get("mlp_only_layers") or ()):
        return False
    listed = strings(config, "mlp_layer_types")
    if index < len(listed):
        return listed[index] == "sparse"
    if model_type == "jamba":
        period = integer(config, "expert_layer_period", default=2)
        return index % period == integer(config, "expert_layer_offset", default=1, low=0)
    if model_type == "llama4":
        return (index + 1) % integer(config, "interleave_moe_layer_step", default=1) == 0
    dense = integer(config, "first_k_dense_replace", "moe_layer_start_index", "num_dense_layers", default=0, low=0)
    step = integer(config, "decoder_sparse_step", default=1)
    frequency = config.get("moe_layer_freq")
    if isinstance(frequency, list):
        return index < len(frequency) and bool(frequency[index])
    return index >= dense and (index + 1) % step == 0
