"""Tokens, sequences and bytes of the KV cache."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.sizing.kv_layout import Group, Layout
from vllm_operator.sizing.release import ReleaseRules
from vllm_operator.sizing.units import divide_up


@dataclass(frozen=True)
class CacheDemand:
    """The values that decide how many blocks one sequence takes.

    Attributes:
        in_flight: tokens of the batches that run at once, which sliding windows keep in addition to the window.
        encoder_tokens: tokens of an encoder's output, for cross attention.
        recurrent_blocks: states of a sequence: 2 when prefixes of recurrent layers are cached, else 1.
    """

    in_flight: int
    encoder_tokens: int = 0
    recurrent_blocks: int = 1


@dataclass(frozen=True)
class CacheCapacity:
    """The content that the KV cache of one engine has room for.

    Attributes:
        blocks: number of blocks.
        tokens: tokens, as "GPU KV cache size" counts them.
        concurrency: sequences of the full context at once.
    """

    blocks: int
    tokens: int
    concurrency: float


def blocks_for(layout: Layout, tokens: int, demand: CacheDemand) -> int:
    """Return the blocks that one sequence of a length takes."""
    return sum(_group_blocks(group, tokens, demand) for group in layout.groups)


def bytes_for(layout: Layout, tokens: int, demand: CacheDemand) -> int:
    """Return the bytes that one sequence of a length takes on one GPU."""
    return blocks_for(layout, tokens, demand) * layout.block_bytes


def capacity(layout: Layout, available: int, context: int, demand: CacheDemand, release: ReleaseRules) -> CacheCapacity:
    """Return what the bytes for the KV cache hold.

    Args:
        layout: the caches of the stage.
        available: bytes for the KV cache of one GPU.
        context: `--max-model-len`.
        demand: what one sequence takes in addition to its tokens.
        release: newer releases count the tokens by the concurrency.
    """
    if not layout.groups:
        return CacheCapacity(1, 0, float("inf"))
    blocks = max(0, available // layout.block_bytes)
    concurrency = blocks / blocks_for(layout, context, demand)
    if release.tokens_from_concurrency:
        tokens = int(concurrency * context)
    else:
        tokens = blocks // len(layout.groups) * layout.smallest_block
    return CacheCapacity(blocks, tokens, concurrency)


def longest_context(layout: Layout, available: int, limit: int, demand: CacheDemand) -> int:
    """Return the longest context of one sequence that fits, up to a limit; 0 when none does."""
    if not layout.groups:
        return limit
    if bytes_for(layout, 1, demand) > available:
        return 0
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        if bytes_for(layout, middle, demand) <= available:
            low = middle
        else:
            high = middle - 1
    return low


def _group_blocks(group: Group, tokens: int, demand: CacheDemand) -> int:
    spec = group.spec
    if spec.kind == "state":
        return demand.recurrent_blocks
    if spec.kind == "cross":
        return divide_up(max(demand.encoder_tokens, spec.window), spec.block)
    if spec.kind == "sliding":
        # One block more, because the window may begin inside of a block.
        return divide_up(min(spec.window - 1 + demand.in_flight, tokens), spec.block) + 1
    if spec.kind == "chunked":
        return divide_up(min(spec.window + demand.in_flight, tokens), spec.block)
    return divide_up(tokens, spec.block)
