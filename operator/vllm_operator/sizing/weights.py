"""The bytes of the weights on one GPU, as vLLM logs them ("Model loading took")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from vllm_operator.sizing.division import Division
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.quantization import Quantization, unquantized_size
from vllm_operator.sizing.rotary_tensors import rotary_tensors
from vllm_operator.sizing.tensor import Tensor, allocated
from vllm_operator.sizing.tensors import Place, embedding_tensors, head_tensors, layer_tensors
from vllm_operator.sizing.tower_tensors import tower_tensors
from vllm_operator.sizing.units import round_up

Padding: TypeAlias = tuple[int, int]
"""Multiples to which a kernel pads the width of an expert, and the width of the model."""

MARLIN: Padding = (128, 256)
"""Padding of MXFP4 experts for Marlin, which all GPUs take that no other kernel supports.

Source: vLLM's mxfp4.py (0.13.0), Marlin; other kernels pad less.
"""


_DERIVED = {"rotary", "W_UK_T", "W_UV"}
"""Tensors that vLLM computes at load."""


@dataclass(frozen=True)
class WeightBytes:
    """The weights of one GPU.

    Attributes:
        quantized: bytes of quantized tensors, with their scales.
        unquantized: bytes of all other tensors.
        allocated: bytes that PyTorch's allocator counts for them.
        parameters: elements of the tensors; scales do not count.
        derived: bytes that are in no checkpoint: rotary tables, copies for MLA, and padding of experts.
    """

    quantized: int
    unquantized: int
    allocated: int
    parameters: int
    derived: int = 0

    @property
    def total(self) -> int:
        """Bytes of all tensors."""
        return self.quantized + self.unquantized


HOPPER: Padding = (64, 256)
"""The same for the Triton kernel on Hopper. Measured: 64.38 GiB for gpt-oss-120b (vllm issue 33155)."""

BLACKWELL: Padding = (256, 256)
"""The same for FlashInfer on Blackwell."""


def stage_weights(
    model: ModelShape, quantization: Quantization, division: Division, dtype: str, padding: Padding = MARLIN
) -> list[WeightBytes]:
    """Return the weights of one GPU in each pipeline stage.

    Args:
        model: the model.
        quantization: how its tensors are stored.
        division: the GPUs that share it.
        dtype: data type of unquantized tensors.
        padding: padding of MXFP4 experts.
    """
    stages = division.stages(len(model.layers))
    return [
        _sum(_stage_tensors(model, division, stage, index == 0, index == len(stages) - 1), quantization, dtype, padding)
        for index, stage in enumerate(stages)
    ]


def whole_weights(model: ModelShape, quantization: Quantization, dtype: str, padding: Padding = MARLIN) -> WeightBytes:
    """Return the weights of the whole model, as if one GPU held it."""
    return stage_weights(model, quantization, Division(), dtype, padding)[0]


def _stage_tensors(model: ModelShape, division: Division, layers: range, first: bool, last: bool) -> Iterator[Tensor]:
    if first or (last and model.tied):
        yield from embedding_tensors(model, division.tensor)
    if first:
        yield from tower_tensors(model, division.tensor)
    for index in layers:
        yield from layer_tensors(model, Place(division, index))
    if last and not model.tied and model.model_type not in ("bert", "roberta", "xlm-roberta"):
        yield from head_tensors(model, division.tensor)
    yield from rotary_tensors(model)


def _sum(tensors: Iterable[Tensor], quantization: Quantization, dtype: str, padding: Padding) -> WeightBytes:
    quantized = unquantized = counted = parameters = derived = 0
    for tensor in tensors:
        scheme = quantization.of(tensor)
        if scheme is None:
            size = unquantized_size(tensor, dtype)
            unquantized += size * tensor.copies
        else:
            rows, columns = _padded(tensor, padding) if scheme.name == "mxfp4" else (tensor.rows, tensor.columns)
            size = scheme.size(rows, columns) * max(1, tensor.experts)
            quantized += size * tensor.copies
            derived += size - scheme.size(tensor.rows, tensor.columns) * max(1, tensor.experts)
        counted += allocated(size) * tensor.copies
        derived += size * tensor.copies if tensor.kind in _DERIVED else 0
        parameters += tensor.elements
    return WeightBytes(quantized, unquantized, counted, parameters, derived)


def _padded(tensor: Tensor, padding: Padding) -> tuple[int, int]:
    if not tensor.experts:
        return tensor.rows, tensor.columns
    width, hidden = padding
    if tensor.kind == "w13":
        return 2 * round_up(tensor.rows // 2, width), round_up(tensor.columns, hidden)
    return round_up(tensor.rows, hidden), round_up(tensor.columns, width)
