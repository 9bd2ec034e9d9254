"""Fields that a config.json leaves out, because they equal the defaults of its family's class in Transformers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

MAX_DEPTH = 4
"""Parts within parts of a config.json. Qwen2.5-Omni has three levels."""

ALIASES: tuple[frozenset[str], ...] = (
    frozenset({"hidden_size", "n_embd", "d_model", "model_dim", "embed_dim", "width"}),
    frozenset({"num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "num_heads"}),
    frozenset({"num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "depth", "layers"}),
    frozenset({"num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "num_attention_groups"}),
    frozenset({"intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "decoder_ffn_dim", "mlp_ratio"}),
    frozenset({"vocab_size", "padded_vocab_size"}),
    frozenset({"max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"}),
    frozenset({"num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"}),
    frozenset({"num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_topk"}),
)
"""Names for the same field: a default does not count where the config.json has another name for it."""


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config.json with the defaults of its family, and of the families of its parts."""
    return _complete(config, "", MAX_DEPTH)


def default_of(family: str, field: str) -> Any:
    """Return the default of a field in a family; None when there is none."""
    return _document()["families"].get(family, {}).get(field)


def _complete(config: Mapping[str, Any], family: str, depth: int) -> dict[str, Any]:
    named = config.get("model_type")
    family = named if isinstance(named, str) else family
    document = _document()
    present = set(config)
    for names in ALIASES:
        if names & present:
            present |= names
    defaults: Mapping[str, Any] = document["families"].get(family, {})
    filled = {name: value for name, value in defaults.items() if name not in present} | dict(config)
    if depth:
        for name, part in _parts(config, family).items():
            filled[name] = _complete(config.get(name) or {}, part, depth - 1)
    return filled


def _parts(config: Mapping[str, Any], family: str) -> dict[str, str]:
    """Return the parts of a config.json by name, and the family of each that names none."""
    known: Mapping[str, str] = _document()["parts"].get(family, {})
    present = {name: known.get(name, "") for name, value in config.items() if isinstance(value, Mapping)}
    # A part that is missing has the defaults of its class, unless the config.json is flat, as Qwen2-VL's is.
    missing = {} if "hidden_size" in config else {name: part for name, part in known.items() if name not in config}
    return present | missing


@functools.cache
def _document() -> Mapping[str, Any]:
    text = files("vllm_operator.sizing").joinpath("family_defaults.json").read_text(encoding="utf-8")
    document: Mapping[str, Any] = json.loads(text)
    return document
