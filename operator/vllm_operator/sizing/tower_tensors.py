"""The tensors of vision and audio encoders.

Their families differ more than their sizes do: a tower is a stack of transformer blocks with a patch embedding and a
projection. The largest towers take a few percent of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from vllm_operator.sizing.config_fields import integer
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.tensor import Tensor
from vllm_operator.sizing.units import divide_up

MOBILENET_PARAMETERS = 300_000_000
"""Parameters of MobileNet-V5-300M, the vision encoder of Gemma 3n (timm's mobilenetv5_300m)."""

CONFORMER_MATRICES = 23
"""Square matrices in a block of Gemma 3n's audio encoder: 2 x 8 of MLPs, 4 of attention, 3 of the convolution."""

UNDIVIDED_TOWERS = frozenset({"gemma4_audio", "gemma4_vision"})
"""Towers that each GPU holds whole, because vLLM takes them from Transformers (`AutoModel.from_config`)."""


def tower_tensors(model: ModelShape, tensor: int = 1) -> Iterator[Tensor]:
    """Yield the tensors of all encoders on one GPU; tensor parallelism divides most of them."""
    for tower in model.towers:
        ranks = 1 if tower.get("model_type") in UNDIVIDED_TOWERS else tensor
        yield from _divided(_tower(tower, model), ranks)
    if model.encoder_layers:
        yield from _divided(_encoder(model), tensor)


def _divided(tensors: Iterator[Tensor], ranks: int) -> Iterator[Tensor]:
    for tensor in tensors:
        yield replace(tensor, rows=divide_up(tensor.rows, ranks))


def _tower(tower: Mapping[str, Any], model: ModelShape) -> Iterator[Tensor]:
    width = integer(tower, "embed_dim", "hidden_size", "d_model", "width", default=0, low=0)
    if model.model_type == "qwen2_vl":
        width = integer(tower, "embed_dim", default=width, low=0)
    depth = integer(
        tower, "depth", "num_hidden_layers", "encoder_layers", "layers", "vt_num_hidden_layers", default=0, low=0
    )
    if tower.get("model_type") == "gemma3n_vision":
        yield Tensor("vision.mobilenet", MOBILENET_PARAMETERS, 1)
        return
    if conformer := integer(tower, "conf_num_hidden_layers", default=0, low=0):
        yield Tensor("audio.conformer", CONFORMER_MATRICES * width, width, copies=conformer)
        return
    if not width or not depth:
        return
    ratio = tower.get("mlp_ratio")
    default = int(width * ratio) if isinstance(ratio, int | float) and 0 < ratio < 16 else 4 * width
    inner = integer(tower, "intermediate_size", "encoder_ffn_dim", default=default)
    gated = tower.get("hidden_act") == "silu" or tower.get("model_type") == "gemma4_vision"
    matrices = 3 if gated else 2
    if str(tower.get("model_type")).startswith("glm4v"):
        # The blocks are as wide as the language model, and the merger has the width that config.json names.
        target = integer(tower, "out_hidden_size", default=model.hidden_size)
        yield Tensor("vision.merger", inner, target, copies=3)
        inner = target
    heads = integer(tower, "num_heads", "num_attention_heads", default=1)
    repeated = integer(tower, "num_key_value_heads", default=heads)
    yield Tensor("vision.qkv", width + 2 * width * min(repeated, heads) // heads, width, copies=depth)
    yield Tensor("vision.proj", width, width, copies=depth)
    yield Tensor("vision.mlp", inner, width, copies=matrices * depth)
    yield from _ends(tower, width, model)


def _ends(tower: Mapping[str, Any], width: int, model: ModelShape) -> Iterator[Tensor]:
    patch = integer(tower, "patch_size", default=0, low=0)
    if patch:
        frames = integer(tower, "temporal_patch_size", default=1)
        channels = integer(tower, "in_channels", "in_chans", "num_channels", default=3)
        yield Tensor("vision.patch_embed", width, channels * frames * patch * patch)
    merge = integer(tower, "spatial_merge_size", default=1)
    merged = width * merge * merge
    target = integer(tower, "out_hidden_size", default=model.hidden_size)
    if adapted := integer(tower, "projector_output_dim", default=0, low=0):
        # Llama 4 joins four patches, and adapts them with two layers before the projection.
        joined = integer(tower, "projector_input_dim", default=adapted)
        yield Tensor("vision.adapter", joined, 4 * width + adapted)
        merged = adapted
    mergers = 1 + len(tower.get("deepstack_visual_indexes") or ())
    if merge > 1:
        yield Tensor("vision.merger", merged, merged, copies=mergers)
    yield Tensor("vision.projector", target, merged, copies=mergers)
    if positions := integer(tower, "num_position_embeddings", "max_source_positions", default=0, low=0):
        yield Tensor("vision.positions", positions, width)
    if positions := integer(tower, "position_embedding_size", default=0, low=0):
        # Gemma 4: one table for the rows of a picture, and one for its columns.
        yield Tensor("vision.positions", 2 * positions, width)


def _encoder(model: ModelShape) -> Iterator[Tensor]:
    """Yield the audio encoder of Whisper, and the cross attention of its decoder."""
    width, inner = model.hidden_size, integer(model.config, "encoder_ffn_dim", default=4 * model.hidden_size)
    yield Tensor("encoder.attention", width, width, copies=4 * model.encoder_layers)
    yield Tensor("encoder.mlp", inner, width, copies=2 * model.encoder_layers)
    mels = integer(model.config, "num_mel_bins", default=80)
    yield Tensor("encoder.conv", width, 3 * (width + mels))
    yield Tensor("encoder.positions", integer(model.config, "max_source_positions", default=1500), width)
