"""Sizes of the recurrent layers of each family, from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.sizing.config_fields import ConfigError, integer, part, text
from vllm_operator.sizing.layers import StateCache
from vllm_operator.sizing.units import DTYPE_BYTES


def recurrent_cache(config: Mapping[str, Any], kind: str, dtype: str) -> StateCache:
    """Return the recurrent state of a layer.

    Args:
        config: the config of the language model.
        kind: mamba1, mamba2, gated_delta_net, kda, linear or short_conv.
        dtype: data type of the model.

    Raises:
        ConfigError: a size is missing, or the kind is unknown.
    """
    if kind not in _SIZES:
        raise ConfigError(f"config.json: a layer of kind {kind[:40]!r} cannot be sized")
    # `mamba_ssm_cache_dtype: auto` takes it from config.json (NemotronHForCausalLMConfig, Qwen3_5ForConditional...).
    state = text(config, "mamba_ssm_cache_dtype", "mamba_ssm_dtype", default=dtype)
    if kind == "kda":
        state = "float32"
    return StateCache(kind, tuple(_SIZES[kind](config).items()), dtype, state if state in DTYPE_BYTES else dtype)


def _inner(config: Mapping[str, Any]) -> int:
    hidden = integer(config, "hidden_size", "d_model")
    own = integer(config, "mamba_d_ssm", "mamba_intermediate_size", default=0, low=0)
    heads = integer(config, "mamba_num_heads", default=0, low=0)
    if own or heads:
        return own or heads * integer(config, "mamba_head_dim", "hidden_size_per_head", default=64)
    expand = config.get("mamba_expand", config.get("expand", 2))
    return int(hidden * expand) if isinstance(expand, int | float) and 0 < expand <= 16 else 2 * hidden


def _mamba1(config: Mapping[str, Any]) -> dict[str, int]:
    return {
        "inner": _inner(config),
        "state": integer(config, "mamba_d_state", "state_size", default=16),
        "kernel": integer(config, "mamba_d_conv", "conv_kernel", default=4),
        "rank": integer(
            config, "mamba_dt_rank", "time_step_rank", default=max(1, integer(config, "hidden_size") // 16)
        ),
    }


def _mamba2(config: Mapping[str, Any]) -> dict[str, int]:
    size = integer(config, "mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim", default=64)
    inner = _inner(config)
    return {
        "inner": inner,
        "groups": integer(config, "mamba_n_groups", "n_groups", "mamba_ngroups", default=1),
        "heads": integer(
            config, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads", default=max(1, inner // size)
        ),
        "head_size": size,
        "state": integer(config, "mamba_d_state", "ssm_state_size", "state_size", default=128),
        "kernel": integer(config, "mamba_d_conv", "conv_kernel", default=4),
    }


def _gated_delta_net(config: Mapping[str, Any]) -> dict[str, int]:
    return {
        "key_heads": integer(config, "linear_num_key_heads"),
        "value_heads": integer(config, "linear_num_value_heads"),
        "key_size": integer(config, "linear_key_head_dim"),
        "value_size": integer(config, "linear_value_head_dim"),
        "kernel": integer(config, "linear_conv_kernel_dim", default=4),
    }


def _kda(config: Mapping[str, Any]) -> dict[str, int]:
    linear = part(config, "linear_attn_config") or {}
    return {
        "heads": integer(linear, "num_heads"),
        "head_size": integer(linear, "head_dim"),
        "kernel": integer(linear, "short_conv_kernel_size", default=4),
    }


def _linear(config: Mapping[str, Any]) -> dict[str, int]:
    heads = integer(config, "num_attention_heads")
    return {
        "heads": heads,
        "head_size": integer(config, "head_dim", default=integer(config, "hidden_size") // heads),
    }


def _short_conv(config: Mapping[str, Any]) -> dict[str, int]:
    return {
        "inner": integer(config, "conv_dim", "hidden_size"),
        "kernel": integer(config, "conv_L_cache", default=3),
    }


_SIZES = {
    "mamba1": _mamba1,
    "mamba2": _mamba2,
    "gated_delta_net": _gated_delta_net,
    "kda": _kda,
    "linear": _linear,
    "short_conv": _short_conv,
}
