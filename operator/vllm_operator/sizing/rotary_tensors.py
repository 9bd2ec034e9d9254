"""The tables of cosines and sines that vLLM computes for rotary positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.sizing.config_fields import ConfigError, integer, part, text
from vllm_operator.sizing.layers import AttentionCache
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.tensor import Tensor

WITHOUT = frozenset(
    {"gpt2", "opt", "bert", "roberta", "xlm-roberta", "gpt_bigcode", "bloom", "mpt", "whisper", "mamba", "mamba2"}
    | {"falcon_mamba", "jamba", "bamba"}
)
"""Families without rotary positions."""

MULTIMODAL_FACTOR = 4
"""Positions of a table with sections for time, height and width (`MRotaryEmbedding` in vLLM's mrope.py)."""

ONCE = frozenset({"qwen3_5", "qwen3_5_moe", "qwen3_next"})
"""Families whose table with sections has no more positions than others (`mrope_positions_factor=1`)."""

MAX_FACTOR = 4096
"""Largest factor by which a config.json extends its positions."""


@dataclass(frozen=True)
class Rotary:
    """One table, by which layers with equal ones share it (`_ROPE_DICT` in vLLM).

    Attributes:
        base: `rope_theta`.
        positions: rows of the table.
        size: elements of a row.
    """

    base: object
    positions: int
    size: int


def rotary_tensors(model: ModelShape) -> Iterator[Tensor]:
    """Yield the tables of cosines and sines, which vLLM keeps once for each kind of layer.

    Source: `_compute_cos_sin_cache` of vLLM's rotary embeddings: positions times the rotary size, in the model's type.
    """
    if model.model_type in WITHOUT:
        return
    dtype = "float32" if model.model_type == "gpt_oss" else ""
    for table in sorted(_tables(model), key=repr):
        yield Tensor("rotary", table.positions, table.size, dtype=dtype)


def _tables(model: ModelShape) -> set[Rotary]:
    config = model.config
    scaling = part(config, "rope_scaling", "rope_parameters") or {}
    if model.model_type in ("gemma3n", "gemma4"):
        return _by_head_size(model)
    nested = [value for value in scaling.values() if isinstance(value, Mapping)]
    if nested:
        return {Rotary(value.get("rope_theta"), _positions(model, value), model.rotary_size) for value in nested}
    base = config.get("rope_theta") or scaling.get("rope_theta")
    tables = {Rotary(base, _positions(model, scaling), model.rotary_size)}
    if local := _local_base(model):
        tables.add(Rotary(local, model.max_position, model.rotary_size))
    return tables


def _by_head_size(model: ModelShape) -> set[Rotary]:
    """Return one table for each size of heads, or two where local and global layers have the same size."""
    sizes = {cache.head_size for layer in model.layers for cache in layer.caches if isinstance(cache, AttentionCache)}
    kinds = range(2 if len(sizes) == 1 else 1)
    return {Rotary(kind, model.max_position, size) for kind in kinds for size in sizes}


def _local_base(model: ModelShape) -> object:
    """Return the `rope_theta` of layers with a sliding window, where they have another; None for most families."""
    own = model.config.get("rope_local_base_freq") or model.config.get("swa_rope_theta")
    return own or ("local" if model.model_type == "gemma3" else None)


def _positions(model: ModelShape, scaling: Mapping[str, Any]) -> int:
    """Return the rows of a table."""
    kind = text(scaling, "rope_type", "type", default="default")
    original = integer(scaling, "original_max_position_embeddings", default=model.max_position)
    factor = _factor(scaling)
    if kind in ("yarn", "deepseek_yarn", "deepseek_llama_scaling"):
        return int(original * factor)
    if kind in ("linear", "dynamic") and "alpha" not in scaling:
        return int(model.max_position * factor)
    if kind in ("longrope", "su"):
        # One table for short and one for long prompts, one after the other.
        short = integer(model.config, "original_max_position_embeddings", default=original)
        return short + model.max_position
    if kind == "mrope" or "mrope_section" in scaling:
        return model.max_position * (1 if model.model_type in ONCE else MULTIMODAL_FACTOR)
    return model.max_position


def _factor(scaling: Mapping[str, Any]) -> float:
    factor = scaling.get("factor", 1.0)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor <= MAX_FACTOR:
        raise ConfigError(f"config.json: rope_scaling.factor is {str(factor)[:40]}; it must be a number above 0")
    return float(factor)
