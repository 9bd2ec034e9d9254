"""The data that one layer keeps for each token or sequence, before it is divided among GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from vllm_operator.sizing.units import DTYPE_BYTES


@dataclass(frozen=True)
class AttentionCache:
    """Keys and values of a layer with MHA, GQA or MQA.

    Attributes:
        kv_heads: heads of keys and values of the whole model.
        head_size: elements of a key.
        value_size: elements of a value.
        window: tokens that a layer with sliding window attention sees; None for full attention.
        chunk: tokens of a chunk of chunked local attention; None for any other.
        cross: tokens of the encoder for cross attention; None for self attention.
    """

    kv_heads: int
    head_size: int
    value_size: int
    window: int | None = None
    chunk: int | None = None
    cross: int | None = None


@dataclass(frozen=True)
class LatentCache:
    """The compressed vector of multi-head latent attention (MLA): every GPU of a TP group keeps all of it.

    Attributes:
        size: elements for a token, `kv_lora_rank + qk_rope_head_dim`.
        indexer: elements of the indexer's key for a token (DeepSeek sparse attention); 0 without an indexer.
    """

    size: int
    indexer: int = 0


@dataclass(frozen=True)
class StateTensor:
    """One tensor of a recurrent state, for one sequence on one GPU."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return prod(self.shape) * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True)
class StateCache:
    """The recurrent state of Mamba or linear attention: the same for any length of a sequence.

    Attributes:
        kind: mamba1, mamba2, gated_delta_net, kda, linear or short_conv.
        sizes: the sizes that `recurrent_states.py` turns into shapes, by name.
        conv_dtype: data type of the convolution state.
        state_dtype: data type of the recurrent state.
    """

    kind: str
    sizes: tuple[tuple[str, int], ...]
    conv_dtype: str
    state_dtype: str


LayerCache: TypeAlias = AttentionCache | LatentCache | StateCache


@dataclass(frozen=True)
class Layer:
    """One block of the model.

    Attributes:
        caches: what the block keeps; empty for a block without attention. Falcon-H1 has two in each block.
        mlp: "dense", "moe" or "none".
        borrowed: attention that reads the keys and values of an earlier block (Gemma 3n, Gemma 4).
        mlp_size: width of the block's own MLP; None for the model's.
    """

    caches: tuple[LayerCache, ...]
    mlp: str
    borrowed: tuple[LayerCache, ...] = ()
    mlp_size: int | None = None
