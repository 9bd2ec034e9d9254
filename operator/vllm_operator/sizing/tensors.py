"""The tensors of a model's text layers on one GPU.

Each function yields the tensors of one part. Column and row sizes are those of one rank; the source is vLLM's
`QKVParallelLinear`, `MergedColumnParallelLinear`, `RowParallelLinear`, `FusedMoE` and the model files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vllm_operator.sizing.config_fields import integer
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.layers import AttentionCache, LatentCache, Layer, LayerCache
from vllm_operator.sizing.mixer_tensors import state_tensors_of
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.shared_blocks import shared_block_tensors
from vllm_operator.sizing.tensor import Tensor
from vllm_operator.sizing.units import divide_up, round_up

VOCABULARY_PADDING = 64
"""Vocabularies are padded to this multiple (`DEFAULT_VOCAB_PADDING_SIZE` in vLLM)."""

FLOAT32_ROUTERS = frozenset(
    {
        "afmoe",
        "ernie4_5_moe",
        "glm4_moe",
        "glm_moe_dsa",
        "hy_v3",
        "mimo_v2_flash",
        "minimax_m2",
        "param2moe",
        "step3p5",
        "step3p7",
    }
)
"""Families whose router is float32 (`params_dtype=torch.float32` in vLLM's models)."""

GATED_ATTENTION = frozenset({"qwen3_next", "qwen3_5", "qwen3_5_moe"})
"""Families whose queries come with a gate of the same size, unless config.json says otherwise."""

ENCODERS = ("bert", "roberta", "xlm-roberta", "modernbert")
"""Families whose attention keeps no KV cache."""


@dataclass(frozen=True)
class Place:
    """Where the tensors of a layer lie: on which share of the GPUs, in which layer."""

    division: Division
    index: int


def layer_tensors(model: ModelShape, place: Place) -> Iterator[Tensor]:
    """Yield the tensors of one block on one GPU."""
    layer: Layer = model.layers[place.index]
    if model.model_type == "zamba2":
        yield from shared_block_tensors(model, place.division.tensor, place.index)
        return
    for cache in (*layer.caches, *layer.borrowed):
        yield from _mixer(model, cache, place)
    if model.model_type in ENCODERS:
        yield from _attention(model, AttentionCache(model.kv_heads, model.head_size, model.head_size), place)
    if layer.mlp == "moe":
        yield from _experts(model, place)
    if layer.mlp == "dense" or (layer.mlp == "moe" and model.model_type == "gemma4"):
        # Gemma 4 has a dense MLP next to its experts.
        yield from _dense(model, layer.mlp_size or model.mlp_size, "mlp", place)
    if inputs := integer(model.config, "hidden_size_per_layer_input", default=0, low=0):
        yield Tensor("per_layer_input", inputs, model.hidden_size, copies=2)
        yield Tensor("laurel", integer(model.config, "laurel_rank", default=0, low=0), model.hidden_size, copies=2)
    yield Tensor("norm", model.hidden_size, 1, copies=4 if model.model_type.startswith("gemma") else 2)


def _mixer(model: ModelShape, cache: LayerCache, place: Place) -> Iterator[Tensor]:
    if isinstance(cache, AttentionCache) and model.model_type == "minicpm3":
        # Its projections are those of latent attention, and its KV cache that of plain attention.
        latent = LatentCache(integer(model.config, "kv_lora_rank"))
        yield from (item for item in _latent_attention(model, latent, place) if item.kind not in ("W_UK_T", "W_UV"))
    elif isinstance(cache, AttentionCache):
        yield from _attention(model, cache, place)
    elif isinstance(cache, LatentCache):
        yield from _latent_attention(model, cache, place)
    else:
        yield from state_tensors_of(model.hidden_size, cache, place.division.tensor, place.index)


def embedding_tensors(model: ModelShape, tensor: int) -> Iterator[Tensor]:
    """Yield the input embeddings on one GPU."""
    rows = divide_up(round_up(model.vocabulary, VOCABULARY_PADDING), tensor)
    yield Tensor("embed_tokens", rows, model.hidden_size)
    if model.model_type in ("gpt2", "opt", "bert", "gpt_bigcode", "roberta", "xlm-roberta", "whisper"):
        yield Tensor("embed_positions", model.max_position, model.hidden_size)
    yield from _layer_inputs(model, tensor)


def _layer_inputs(model: ModelShape, tensor: int) -> Iterator[Tensor]:
    """Yield the embeddings of Gemma 3n and Gemma 4 that each layer reads, and the projections around the layers."""
    inputs = integer(model.config, "hidden_size_per_layer_input", default=0, low=0)
    if inputs:
        rows = integer(model.config, "vocab_size_per_layer_input", default=model.vocabulary)
        width = inputs * len(model.layers)
        yield Tensor("embed_tokens_per_layer", divide_up(round_up(rows, VOCABULARY_PADDING), tensor), width)
        yield Tensor("per_layer_model_projection", divide_up(width, tensor), model.hidden_size)
    streams = integer(model.config, "altup_num_inputs", default=0, low=0)
    if streams > 1:
        yield Tensor("altup", model.hidden_size, model.hidden_size, copies=2 * (streams - 1))


def head_tensors(model: ModelShape, tensor: int) -> Iterator[Tensor]:
    """Yield the output head on one GPU."""
    rows = divide_up(round_up(model.vocabulary, VOCABULARY_PADDING), tensor)
    yield Tensor("lm_head", rows, model.hidden_size, names=("lm_head",), linear=True)


def _attention(model: ModelShape, cache: AttentionCache, place: Place) -> Iterator[Tensor]:
    tp = place.division.tensor
    prefix = f"layers.{place.index}.self_attn."
    heads = divide_up(model.heads, tp)
    kv_heads = max(1, cache.kv_heads // tp)
    gate = 2 if model.config.get("attn_output_gate", model.model_type in GATED_ATTENTION) else 1
    rows = gate * heads * cache.head_size + kv_heads * (cache.head_size + cache.value_size)
    names = tuple(prefix + name for name in ("q_proj", "k_proj", "v_proj"))
    yield Tensor("qkv_proj", rows, model.hidden_size, names=names, linear=True)
    if model.config.get("attention_bias") or model.model_type in ("qwen2", "qwen2_moe", "qwen2_5_vl", "qwen2_vl"):
        yield Tensor("qkv_bias", rows, 1)
    columns = heads * cache.value_size
    yield Tensor("o_proj", model.hidden_size, columns, names=(prefix + "o_proj",), linear=True)


def _latent_attention(model: ModelShape, cache: LatentCache, place: Place) -> Iterator[Tensor]:
    config, tp = model.config, place.division.tensor
    prefix = f"layers.{place.index}.self_attn."
    rope, nope = integer(config, "qk_rope_head_dim", default=64), integer(config, "qk_nope_head_dim", default=128)
    value, latent = integer(config, "v_head_dim", default=128), integer(config, "kv_lora_rank")
    query = integer(config, "q_lora_rank", default=0, low=0)
    heads = divide_up(model.heads, tp)
    down = (query + latent + rope) if query else latent + rope
    names = (prefix + "q_a_proj", prefix + "kv_a_proj_with_mqa") if query else (prefix + "kv_a_proj_with_mqa",)
    # The compression to the latent vector is on each rank (`ReplicatedLinear`).
    yield Tensor("kv_a_proj", down, model.hidden_size, names=names, linear=True)
    source = query or model.hidden_size
    name = prefix + ("q_b_proj" if query else "q_proj")
    yield Tensor("q_b_proj", heads * (rope + nope), source, names=(name,), linear=True)
    yield Tensor("kv_b_proj", heads * (nope + value), latent, names=(prefix + "kv_b_proj",), linear=True)
    yield Tensor("o_proj", model.hidden_size, heads * value, names=(prefix + "o_proj",), linear=True)
    # `process_weights_after_loading` keeps kv_b_proj again, unquantized, as W_UK_T and W_UV.
    yield Tensor("W_UK_T", heads * nope, latent)
    yield Tensor("W_UV", heads * value, latent)
    if cache.indexer:
        yield from _indexer(model, cache.indexer, source, prefix)


def _indexer(model: ModelShape, size: int, source: int, prefix: str) -> Iterator[Tensor]:
    heads = integer(model.config, "index_n_heads", default=64)
    yield Tensor("wq_b", heads * size, source, names=(prefix + "indexer.wq_b",), linear=True)
    yield Tensor("wk", size, model.hidden_size, names=(prefix + "indexer.wk",), linear=True)
    yield Tensor("weights_proj", heads, model.hidden_size)


def _dense(model: ModelShape, width: int, module: str, place: Place, tensor: int | None = None) -> Iterator[Tensor]:
    tp = tensor or place.division.tensor
    prefix = f"layers.{place.index}.{module}."
    share = divide_up(width, tp)
    rows = 2 * share if model.gated else share
    names = (prefix + "gate_proj", prefix + "up_proj") if model.gated else (prefix + "up_proj",)
    yield Tensor("gate_up_proj", rows, model.hidden_size, names=names, linear=True)
    yield Tensor("down_proj", model.hidden_size, share, names=(prefix + "down_proj",), linear=True)


def _experts(model: ModelShape, place: Place) -> Iterator[Tensor]:
    division = place.division
    prefix = f"layers.{place.index}.mlp."
    experts = divide_up(model.experts, division.expert_ranks)
    share = divide_up(model.expert_size, division.expert_tensor)
    latent = integer(model.config, "moe_latent_size", default=0, low=0)
    width = latent or model.hidden_size
    yield Tensor("gate", model.experts, model.hidden_size, names=(prefix + "gate",), dtype=_gate_dtype(model))
    up = tuple(f"{prefix}experts.0.{name}" for name in (("gate_proj", "up_proj") if model.gated else ("up_proj",)))
    rows = len(up) * share
    yield Tensor("w13", rows, width, names=up, linear=True, experts=experts)
    yield Tensor("w2", width, share, names=(f"{prefix}experts.0.down_proj",), linear=True, experts=experts)
    if model.model_type == "gpt_oss":
        yield Tensor("expert_biases", rows + width, 1, experts=experts)
    if latent:
        yield Tensor("fc1_latent", latent, model.hidden_size, names=(prefix + "fc1_latent_proj",), linear=True)
        yield Tensor("fc2_latent", model.hidden_size, latent, names=(prefix + "fc2_latent_proj",), linear=True)
    if model.shared_expert_size:
        yield from _dense(model, model.shared_expert_size, "mlp.shared_expert", place)


def _gate_dtype(model: ModelShape) -> str:
    """Return the data type of the routers, which some models keep in float32 (`GateLinear` in vLLM's models)."""
    wanted = model.config.get("moe_router_dtype", "float32" if model.model_type in FLOAT32_ROUTERS else None)
    return "float32" if wanted == "float32" else ""


def elements(tensors: Iterable[Tensor]) -> int:
    """Return the number of elements of all tensors."""
    return sum(tensor.elements for tensor in tensors)
