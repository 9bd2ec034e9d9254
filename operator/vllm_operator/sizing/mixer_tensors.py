"""The tensors of Mamba and linear attention layers on one GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from vllm_operator.sizing.layers import StateCache
from vllm_operator.sizing.tensor import Tensor


def state_tensors_of(hidden: int, cache: StateCache, tensor: int, index: int) -> Iterator[Tensor]:
    """Yield the tensors of a recurrent layer.

    Args:
        hidden: width of the model.
        cache: the layer.
        tensor: GPUs that share the layer.
        index: its number, for lists of modules that stay unquantized.
    """
    yield from _TENSORS[cache.kind](hidden, dict(cache.sizes), tensor, f"layers.{index}.mixer.")


def _linear(kind: str, rows: int, columns: int, prefix: str) -> Tensor:
    return Tensor(kind, rows, columns, names=(prefix + kind,), linear=True)


def _mamba1(hidden: int, sizes: Mapping[str, int], tp: int, prefix: str) -> Iterator[Tensor]:
    inner = sizes["inner"] // tp
    yield _linear("in_proj", 2 * inner, hidden, prefix)
    yield _linear("x_proj", sizes["rank"] + 2 * sizes["state"], inner, prefix)
    yield _linear("dt_proj", inner, sizes["rank"], prefix)
    yield _linear("out_proj", hidden, inner, prefix)
    yield Tensor("conv1d", inner, sizes["kernel"])
    yield Tensor("A", inner, sizes["state"], dtype="float32")


def _mamba2(hidden: int, sizes: Mapping[str, int], tp: int, prefix: str) -> Iterator[Tensor]:
    inner, groups, heads = sizes["inner"] // tp, max(1, sizes["groups"] // tp), sizes["heads"] // tp
    convolution = inner + 2 * groups * sizes["state"]
    yield _linear("in_proj", inner + convolution + heads, hidden, prefix)
    yield _linear("out_proj", hidden, inner, prefix)
    yield Tensor("conv1d", convolution, sizes["kernel"])


def _gated_delta_net(hidden: int, sizes: Mapping[str, int], tp: int, prefix: str) -> Iterator[Tensor]:
    prefix = prefix.replace("mixer", "linear_attn")
    keys, values = sizes["key_heads"] * sizes["key_size"] // tp, sizes["value_heads"] * sizes["value_size"] // tp
    yield _linear("in_proj_qkvz", 2 * keys + 2 * values, hidden, prefix)
    yield _linear("in_proj_ba", 2 * sizes["value_heads"] // tp, hidden, prefix)
    yield _linear("out_proj", hidden, values, prefix)
    yield Tensor("conv1d", 2 * keys + values, sizes["kernel"])


def _kda(hidden: int, sizes: Mapping[str, int], tp: int, prefix: str) -> Iterator[Tensor]:
    prefix = prefix.replace("mixer", "self_attn")
    inner, size = sizes["heads"] * sizes["head_size"] // tp, sizes["head_size"]
    yield _linear("qkv_proj", 3 * inner, hidden, prefix)
    yield _linear("o_proj", hidden, inner, prefix)
    yield _linear("f_a_proj", size, hidden, prefix)
    yield _linear("f_b_proj", inner, size, prefix)
    yield _linear("g_a_proj", size, hidden, prefix)
    yield _linear("g_b_proj", inner, size, prefix)


def _linear_attention(hidden: int, sizes: Mapping[str, int], tp: int, prefix: str) -> Iterator[Tensor]:
    inner = sizes["heads"] * sizes["head_size"] // tp
    yield _linear("qkv_proj", 3 * inner, hidden, prefix)
    yield _linear("output_gate", inner, hidden, prefix)
    yield _linear("out_proj", hidden, inner, prefix)


def _short_conv(hidden: int, sizes: Mapping[str, int], tp: int, prefix: str) -> Iterator[Tensor]:
    inner = sizes["inner"] // tp
    yield _linear("in_proj", 3 * inner, hidden, prefix)
    yield _linear("out_proj", hidden, inner, prefix)
    yield Tensor("conv", inner, sizes["kernel"])


_TENSORS: Mapping[str, Callable[[int, Mapping[str, int], int, str], Iterator[Tensor]]] = {
    "mamba1": _mamba1,
    "mamba2": _mamba2,
    "gated_delta_net": _gated_delta_net,
    "kda": _kda,
    "linear": _linear_attention,
    "short_conv": _short_conv,
}
