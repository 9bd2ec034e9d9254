"""Shapes of recurrent states on one GPU, as vLLM computes them.

Source: `MambaStateShapeCalculator` in vLLM's mamba_utils.py (0.19.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vllm_operator.sizing.layers import StateCache, StateTensor

Shapes = tuple[tuple[int, ...], ...]


def state_tensors(cache: StateCache, tensor_parallel: int) -> tuple[StateTensor, ...]:
    """Return the tensors that one GPU keeps for one sequence; the last one is the recurrent state."""
    sizes = dict(cache.sizes)
    shapes = _SHAPES[cache.kind](sizes, tensor_parallel)
    if cache.kind == "short_conv":
        return tuple(StateTensor(shape, cache.conv_dtype) for shape in shapes)
    tensors = [StateTensor(shape, cache.conv_dtype) for shape in shapes[:-1]]
    return (*tensors, StateTensor(shapes[-1], cache.state_dtype))


def _mamba1(sizes: Mapping[str, int], tp: int) -> Shapes:
    return ((sizes["kernel"] - 1, sizes["inner"] // tp), (sizes["inner"] // tp, sizes["state"]))


def _mamba2(sizes: Mapping[str, int], tp: int) -> Shapes:
    groups = sizes["groups"]
    # Groups that TP does not divide are repeated until it does (`extra_groups_for_head_shards`).
    groups += 0 if groups % tp == 0 else tp - groups
    convolution = sizes["inner"] + 2 * groups * sizes["state"]
    return (
        (sizes["kernel"] - 1, convolution // tp),
        (sizes["heads"] // tp, sizes["head_size"], sizes["state"]),
    )


def _gated_delta_net(sizes: Mapping[str, int], tp: int) -> Shapes:
    keys, values = sizes["key_heads"] * sizes["key_size"], sizes["value_heads"] * sizes["value_size"]
    return (
        (sizes["kernel"] - 1, (2 * keys + values) // tp),
        (sizes["value_heads"] // tp, sizes["value_size"], sizes["key_size"]),
    )


def _kda(sizes: Mapping[str, int], tp: int) -> Shapes:
    width = (sizes["kernel"] - 1, sizes["heads"] * sizes["head_size"] // tp)
    return (width, width, width, (sizes["heads"] // tp, sizes["head_size"], sizes["head_size"]))


def _linear(sizes: Mapping[str, int], tp: int) -> Shapes:
    return ((sizes["heads"] // tp, sizes["head_size"], sizes["head_size"]),)


def _short_conv(sizes: Mapping[str, int], tp: int) -> Shapes:
    return ((sizes["kernel"] - 1, sizes["inner"] // tp),)


_SHAPES: Mapping[str, Callable[[Mapping[str, int], int], Shapes]] = {
    "mamba1": _mamba1,
    "mamba2": _mamba2,
    "gated_delta_net": _gated_delta_net,
    "kda": _kda,
    "linear": _linear,
    "short_conv": _short_conv,
}
