"""How vLLM lays the caches of all layers out in blocks of one size.

Source: vLLM's kv_cache_utils.py and vLLM's kv_cache_interface.py (0.9.2 to 0.32.0), and
`HybridAttentionMambaModelConfig` in vLLM's config.py for hybrid models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from vllm_operator.sizing.layers import AttentionCache, LatentCache, LayerCache, StateCache
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.recurrent_states import state_tensors
from vllm_operator.sizing.units import divide_up

DEFAULT_BLOCK = 16
"""Tokens of a block on GPUs (`CacheConfig.DEFAULT_BLOCK_SIZE`)."""

LATENT_BLOCK = 64
"""Tokens of a block of the MLA kernels (FlashMLA); some kernels take 32 or 128."""

CPU_BLOCK = 128
"""Tokens of a block on CPUs (vLLM's cpu.py)."""

CPU_LATENT_BLOCK = 16
"""The same for MLA, whatever `--block-size` says."""

FP8_LATENT_BYTES = 656
"""Bytes of a token in `fp8_ds_mla`: 512 of FP8, 16 of scales, 128 of bfloat16 (kv_cache_interface.py)."""


@dataclass(frozen=True)
class LayerSpec:
    """The cache of one layer on one GPU.

    Attributes:
        kind: full, sliding, chunked, latent, cross or state. Layers of the same spec form groups.
        token_bytes: bytes of a token; of the whole state for "state".
        block: tokens of a block.
        page: bytes of a block of this layer.
        window: tokens of the window or chunk, or of the encoder for "cross".
    """

    kind: str
    token_bytes: int
    block: int
    page: int
    window: int = 0


@dataclass(frozen=True)
class Group:
    """Layers that share a table of blocks."""

    spec: LayerSpec
    layers: int


@dataclass(frozen=True)
class Layout:
    """The caches of all layers of one pipeline stage.

    Attributes:
        groups: tables of blocks; empty for a model without a cache.
        block_bytes: bytes that one block takes, over all layers that share it.
    """

    groups: tuple[Group, ...]
    block_bytes: int

    @property
    def smallest_block(self) -> int:
        """Tokens of the smallest block of all groups."""
        return min((group.spec.block for group in self.groups), default=1)


def layer_specs(
    model: ModelShape, layers: range, tensor: int, cache_bytes: float, block: int | None
) -> list[LayerSpec]:
    """Return the spec of each cache in a stage.

    Args:
        model: the model.
        layers: the layers of the stage.
        tensor: GPUs that share each layer.
        cache_bytes: bytes of an element of the KV cache.
        block: `--block-size`; None for the default of the kind.
    """
    caches = [cache for index in layers for cache in model.layers[index].caches]
    specs: list[LayerSpec] = []
    for cache in caches:
        specs.extend(_specs(cache, tensor, cache_bytes, block))
    return _aligned_with_states(specs)


def layout_of(specs: Iterable[LayerSpec]) -> Layout:
    """Group the layers as vLLM does, so that each group has blocks of the same bytes."""
    specs = list(specs)
    if not specs:
        return Layout((), 0)
    if len({(spec.kind, spec.block, spec.window) for spec in specs}) == 1:
        # One kind: each layer has its own tensor, whatever its width (UniformTypeKVCacheSpecs).
        return Layout((Group(specs[0], len(specs)),), sum(spec.page for spec in specs))
    unified = _one_page_size(specs)
    counts = Counter(unified)
    smallest, largest = min(counts.values()), max(counts.values())
    size = largest if largest < smallest * 1.5 else smallest
    groups = [Group(spec, min(size, number)) for spec, number in counts.items() for _ in range(divide_up(number, size))]
    return Layout(tuple(groups), size * unified[0].page)


def _specs(cache: LayerCache, tensor: int, width: float, block: int | None) -> list[LayerSpec]:
    if isinstance(cache, StateCache):
        size = sum(tensor_.size for tensor_ in state_tensors(cache, tensor))
        return [LayerSpec("state", size, 0, size)]
    if isinstance(cache, LatentCache):
        tokens = block or LATENT_BLOCK
        own = int(cache.size * width) if not (cache.indexer and width == 1) else FP8_LATENT_BYTES
        specs = [LayerSpec("latent", own, tokens, own * tokens)]
        if cache.indexer:
            # The indexer keeps FP8 keys with a float32 scale for 128 elements (DeepseekV32IndexerCache).
            key = cache.indexer + cache.indexer // 128 * 4
            specs.append(LayerSpec("latent", key, tokens, key * tokens))
        return specs
    return [_attention_spec(cache, tensor, width, block or DEFAULT_BLOCK)]


def _attention_spec(cache: AttentionCache, tensor: int, width: float, block: int) -> LayerSpec:
    # A head of keys and values is repeated when there are fewer than GPUs (`get_num_kv_heads`).
    heads = max(1, cache.kv_heads // tensor)
    token = int(heads * (cache.head_size + cache.value_size) * width)
    if cache.cross is not None:
        return LayerSpec("cross", token, block, token * block, cache.cross)
    if cache.window is not None:
        return LayerSpec("sliding", token, block, token * block, cache.window)
    if cache.chunk is not None:
        return LayerSpec("chunked", token, block, token * block, cache.chunk)
    return LayerSpec("full", token, block, token * block)


def _aligned_with_states(specs: list[LayerSpec]) -> list[LayerSpec]:
    """Enlarge the blocks of attention until one holds a whole state, and pad the states to it."""
    states = [spec for spec in specs if spec.kind == "state"]
    attention = [spec for spec in specs if spec.kind != "state"]
    if not states or not attention:
        return [replace(spec, block=1) if spec.kind == "state" else spec for spec in specs]
    block, page = _block_for(max(states, key=lambda spec: spec.page).page, attention)
    return [
        replace(spec, block=block, page=page if spec.kind == "state" else spec.token_bytes * block) for spec in specs
    ]


def _block_for(state: int, attention: list[LayerSpec]) -> tuple[int, int]:
    """Return the tokens and the bytes of the smallest block of attention that holds a state of some bytes."""
    base = max(attention, key=lambda spec: spec.token_bytes)
    step = 128 if base.kind == "latent" and base.block > DEFAULT_BLOCK else base.block
    block = max(step * divide_up(state, step * base.token_bytes), base.block)
    return block, block * base.token_bytes


def _one_page_size(specs: list[LayerSpec]) -> list[LayerSpec]:
    """Give all layers pages of the same bytes, by larger blocks where they divide, else by padding.

    Source: `unify_kv_cache_spec_page_size`.
    """
    largest = max(spec.page for spec in specs)
    unified = []
    for spec in specs:
        if spec.page != largest and spec.kind != "state" and largest % spec.page == 0:
            unified.append(replace(spec, block=spec.block * (largest // spec.page), page=largest))
        else:
            unified.append(replace(spec, page=largest))
    return unified
