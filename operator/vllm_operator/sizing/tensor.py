"""One tensor of a model's weights."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.sizing.units import MIB, round_up

_SMALL = MIB
"""PyTorch's CUDA allocator serves tensors up to 1 MiB from small blocks (`kSmallSize`)."""

_LARGE = 10 * MIB
"""Tensors from 10 MiB on get a separate segment, rounded up to 2 MiB (`kMinLargeAlloc`, `kRoundLarge`)."""


@dataclass(frozen=True)
class Tensor:
    """A tensor on one GPU.

    Attributes:
        kind: vLLM's name for it.
        rows, columns: its shape; for experts, that of one expert.
        copies: how many there are.
        experts: experts in one tensor; 0 for a tensor that holds none.
        linear: whether it is the weight of a linear layer, which quantization may cover.
        names: names in the checkpoint, without a prefix, that lists of unquantized modules are matched with.
        dtype: its own data type; "" for the model's.
    """

    kind: str
    rows: int
    columns: int
    copies: int = 1
    experts: int = 0
    linear: bool = False
    names: tuple[str, ...] = ()
    dtype: str = ""

    @property
    def elements(self) -> int:
        """Number of elements, of all copies and experts."""
        return self.rows * self.columns * self.copies * max(1, self.experts)


def allocated(size: int) -> int:
    """Return the bytes that PyTorch's CUDA allocator counts for a tensor.

    A segment whose rest is at most 1 MiB is not split, so the tensor counts with its rest.
    Source: `round_size` and `should_split` in c10/cuda/CUDACachingAllocator.cpp.
    """
    rounded = round_up(size, 512)
    if rounded < _LARGE:
        return rounded
    segment = round_up(rounded, 2 * MIB)
    return segment if segment - rounded <= _SMALL else rounded
