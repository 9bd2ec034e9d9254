"""The layers of models whose architecture was searched: each block has its own attention and MLP (Nemotron-NAS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.sizing.config_fields import ConfigError, integer, part
from vllm_operator.sizing.layers import AttentionCache, Layer
from vllm_operator.sizing.units import round_up

WIDTH_MULTIPLE = 256
"""Multiple of the width of an MLP (`find_multiple` in vLLM's nemotron_nas.py)."""

MAX_MULTIPLIER = 64
"""Largest `ffn_mult` of a block. The largest published one is 5.25."""


def searched_layers(config: Mapping[str, Any], number: int) -> tuple[Layer, ...]:
    """Return the blocks that `block_configs` lists.

    Raises:
        ConfigError: the list is shorter than the model, or an entry has no attention or MLP that is known.
    """
    blocks = config.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) < number:
        raise ConfigError(f"config.json: block_configs must be a list of {number} blocks")
    return tuple(_block(config, block) for block in blocks[:number])


def _block(config: Mapping[str, Any], block: object) -> Layer:
    attention = part(block, "attention") if isinstance(block, Mapping) else None
    mlp = part(block, "ffn") if isinstance(block, Mapping) else None
    if attention is None or mlp is None:
        raise ConfigError("config.json: block_configs has an entry without attention or ffn")
    if attention.get("replace_with_linear") or mlp.get("replace_with_linear") or mlp.get("sparsify"):
        raise ConfigError("config.json: block_configs replaces blocks by other layers, which sizing does not know")
    width = _width(config, mlp)
    return Layer(_caches(config, attention), "dense" if width else "none", mlp_size=width or None)


def _caches(config: Mapping[str, Any], attention: Mapping[str, Any]) -> tuple[AttentionCache, ...]:
    if attention.get("no_op"):
        return ()
    heads = integer(config, "num_attention_heads")
    size = integer(config, "head_dim", default=integer(config, "hidden_size") // heads)
    return (AttentionCache(max(1, heads // integer(attention, "n_heads_in_group", default=1)), size, size),)


def _width(config: Mapping[str, Any], mlp: Mapping[str, Any]) -> int:
    if mlp.get("no_op"):
        return 0
    multiplier = mlp.get("ffn_mult")
    if isinstance(multiplier, bool) or not isinstance(multiplier, int | float) or not 0 < multiplier <= MAX_MULTIPLIER:
        raise ConfigError(f"config.json: ffn_mult is {str(multiplier)[:40]}; it must be a number above 0")
    return round_up(int(2 * multiplier * integer(config, "hidden_size") / 3), WIDTH_MULTIPLE)
