"""The tensors of Zamba 2: Mamba layers, and few attention blocks that several layers share.

Source: vLLM's zamba2.py (0.32.0).
"""

from __future__ import annotations

from collections.abc import Iterator

from vllm_operator.sizing.config_fields import integer
from vllm_operator.sizing.layers import AttentionCache, StateCache
from vllm_operator.sizing.mixer_tensors import state_tensors_of
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.tensor import Tensor


def shared_block_tensors(model: ModelShape, tensor: int, index: int) -> Iterator[Tensor]:
    """Yield the tensors of one layer on one GPU; those of a shared block belong to the first layer that uses it."""
    hidden, layer = model.hidden_size, model.layers[index]
    for cache in layer.caches:
        if isinstance(cache, StateCache):
            yield from state_tensors_of(hidden, cache, tensor, index)
    if any(isinstance(cache, AttentionCache) for cache in layer.caches):
        yield Tensor("linear", hidden, hidden)
        yield from _adapters(model, tensor)
        used = sum(len(earlier.caches) > 1 for earlier in model.layers[:index])
        if used < integer(model.config, "num_mem_blocks", default=1):
            yield from _block(model, tensor)
    yield Tensor("norm", hidden, 1, copies=2)


def _adapters(model: ModelShape, tensor: int) -> Iterator[Tensor]:
    rank = integer(model.config, "adapter_rank", default=128)
    yield Tensor("mlp_adapter", rank, model.hidden_size)
    yield Tensor("mlp_adapter", 2 * model.mlp_size // tensor, rank)
    if model.config.get("use_shared_attention_adapter") is True:
        width = 2 * model.hidden_size
        yield Tensor("attention_adapter", rank, width, copies=3)
        yield Tensor("attention_adapter", width // tensor, rank, copies=3)


def _block(model: ModelShape, tensor: int) -> Iterator[Tensor]:
    """Yield one shared block, whose attention reads the embeddings next to the hidden states."""
    hidden, width = model.hidden_size, model.heads * model.head_size
    yield Tensor("qkv_proj", (width + 2 * model.kv_heads * model.head_size) // tensor, 2 * hidden, linear=True)
    yield Tensor("o_proj", hidden, width // tensor, linear=True)
    yield Tensor("gate_up_proj", 2 * model.mlp_size // tensor, hidden, linear=True)
    yield Tensor("down_proj", hidden, model.mlp_size // tensor, linear=True)
