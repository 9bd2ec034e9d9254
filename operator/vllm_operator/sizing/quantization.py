"""How the weights of a checkpoint are quantized, and the bytes of a quantized tensor.

Scales and zero points count, too: those of 4-bit weights in groups of 32 take 12 % of the weights.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from vllm_operator.sizing.config_fields import ConfigError, integer, part, strings, text
from vllm_operator.sizing.tensor import Tensor
from vllm_operator.sizing.units import DTYPE_BYTES, divide_up

MAX_IGNORED = 20_000
"""Modules that a list of unquantized modules may name. The longest published list has fewer than 5,000."""

MAX_PATTERN = 300
"""Length of a pattern in such a list."""


@dataclass(frozen=True)
class Scheme:
    """How one kind of tensor is stored.

    Attributes:
        name: none, fp8, int8, int4, mxfp4, nvfp4, bitsandbytes-4bit, bitsandbytes-8bit or gguf.
        bits: bits of one weight.
        group: weights of a column that share a scale; 0 for a scale for each column or tensor; -1 for square blocks.
        scale_bytes: bytes of one scale.
        zero_bits: bits of one zero point; 0 for symmetric weights.
    """

    name: str
    bits: float
    group: int = 0
    scale_bytes: float = 0
    zero_bits: int = 0

    def size(self, rows: int, columns: int) -> int:
        """Return the bytes of a matrix with its scales and zero points."""
        weights = rows * columns
        if self.group > 0:
            groups = rows * divide_up(columns, self.group)
            return int(weights * self.bits / 8 + groups * (self.scale_bytes + self.zero_bits / 8))
        if self.group < 0:
            blocks = divide_up(rows, -self.group) * divide_up(columns, -self.group)
            return int(weights * self.bits / 8 + blocks * self.scale_bytes)
        return int(weights * self.bits / 8 + rows * self.scale_bytes)


SCHEMES: Mapping[str, Scheme] = {
    # Block-wise scales are float32 (`create_fp8_scale_parameter`); those of a tensor or a column hardly count.
    "fp8": Scheme("fp8", 8, 0, 4),
    "fp8-block": Scheme("fp8", 8, -128, 4),
    "int8": Scheme("int8", 8, 0, 4),
    # GPTQ and AWQ: float16 scales for groups of 128; AWQ keeps 4-bit zero points.
    "gptq": Scheme("int4", 4, 128, 2),
    "awq": Scheme("int4", 4, 128, 2, 4),
    "mxfp4": Scheme("mxfp4", 4, 32, 1),
    "mxfp8": Scheme("mxfp8", 8, 32, 1),
    "nvfp4": Scheme("nvfp4", 4, 16, 1),
    # NF4 with a float32 absmax for 64 weights: vLLM resolves nested absmax values at load.
    "bitsandbytes": Scheme("bitsandbytes-4bit", 4, 64, 4),
    "bitsandbytes-8bit": Scheme("bitsandbytes-8bit", 8, 0, 4),
}
"""Storage of each method; sources: vLLM's `layers/quantization`, and the formats' own documents."""


@dataclass(frozen=True)
class Quantization:
    """The quantization of a whole checkpoint.

    Attributes:
        scheme: of the tensors that are quantized; None for an unquantized checkpoint.
        ignored: patterns of modules that are not.
        covers_head: whether the output head is quantized, too.
        only_experts: whether nothing but routed experts is quantized.
        mixed: schemes of modules that differ, by a pattern of their names.
    """

    scheme: Scheme | None = None
    ignored: tuple[str, ...] = ()
    covers_head: bool = False
    only_experts: bool = False
    mixed: tuple[tuple[str, Scheme], ...] = field(default=())

    def of(self, tensor: Tensor) -> Scheme | None:
        """Return the scheme of a tensor; None where it keeps the model's data type."""
        if self.scheme is None or not tensor.linear or (tensor.kind == "lm_head" and not self.covers_head):
            return None
        if self.only_experts and not tensor.experts:
            return None
        for pattern, scheme in self.mixed:
            if any(_matches(pattern, name) for name in tensor.names):
                return scheme
        if any(_is_ignored(self.ignored, name) for name in tensor.names):
            return None
        return self.scheme


NONE = Quantization()


def parse_quantization(root: Mapping[str, Any], config: Mapping[str, Any]) -> Quantization:
    """Return the quantization that a config.json names.

    Raises:
        ConfigError: the method is unknown: a guess at the bytes could be a false "fits".
    """
    found = part(config, "quantization_config") or part(root, "quantization_config", "compression_config")
    if not found:
        return NONE
    method = text(found, "quant_method").lower().replace("_", "-")
    if method in ("gguf",):
        raise ConfigError("quantization_config.quant_method gguf: bits differ by tensor; name the size of the file")
    if not method and text(found, "quant_algo"):
        method = "modelopt"
    ignored = _ignored(found)
    reader = _READERS.get(method)
    if reader is None:
        raise ConfigError(
            f"config.json: quantization_config.quant_method {method[:40]!r} is unknown, so the weights are: "
            "name their size with --weights-gib, or give the folder with the safetensors files"
        )
    quantization = reader(found)
    return replace(quantization, ignored=(*quantization.ignored, *ignored))


def quantization_of(name: str, root: Mapping[str, Any], config: Mapping[str, Any]) -> Quantization:
    """Return the quantization that `--quantization` asks for, else that of the config.json.

    vLLM quantizes 16-bit checkpoints itself with `fp8` and `bitsandbytes`; other methods need their own checkpoint.

    Raises:
        ConfigError: the method needs a checkpoint that this is not.
    """
    stored = parse_quantization(root, config)
    if not name or name in ("none", "auto") or stored.scheme is not None:
        return stored
    if name in ("fp8", "bitsandbytes"):
        return Quantization(SCHEMES[name])
    if name in SCHEMES:
        return Quantization(SCHEMES[name])
    raise ConfigError(f"--quantization {name}: known are {', '.join(sorted(SCHEMES))}")


def _ignored(found: Mapping[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    for key in (
        "ignore",
        "modules_to_not_convert",
        "exclude_modules",
        "ignored_layers",
        "exclude",
        "llm_int8_skip_modules",
    ):
        names.extend(strings(found, key))
    inner = part(found, "quantization")
    if inner:
        names.extend(strings(inner, "exclude_modules"))
    return tuple(name for name in names[:MAX_IGNORED] if len(name) <= MAX_PATTERN)


def _fp8(found: Mapping[str, Any]) -> Quantization:
    return Quantization(SCHEMES["fp8-block"] if found.get("weight_block_size") else SCHEMES["fp8"])


def _gptq(found: Mapping[str, Any]) -> Quantization:
    bits, group = (
        integer(found, "bits", "w_bit", default=4),
        integer(found, "group_size", "q_group_size", default=128, low=-1),
    )
    scheme = SCHEMES["gptq"] if bits == 4 else Scheme("int8", bits, 128, 2)
    symmetric = found.get("sym", True) is not False
    scheme = replace(scheme, group=group if group > 0 else 0, zero_bits=0 if symmetric else bits)
    return Quantization(scheme, covers_head=found.get("lm_head") is True)


def _awq(found: Mapping[str, Any]) -> Quantization:
    group = integer(found, "group_size", "q_group_size", default=128)
    return Quantization(replace(SCHEMES["awq"], group=group))


def _bitsandbytes(found: Mapping[str, Any]) -> Quantization:
    return Quantization(SCHEMES["bitsandbytes" if found.get("load_in_4bit") else "bitsandbytes-8bit"])


def _mxfp4(found: Mapping[str, Any]) -> Quantization:
    return Quantization(SCHEMES["mxfp4"], only_experts=True)


def _modelopt(found: Mapping[str, Any]) -> Quantization:
    inner = part(found, "quantization") or found
    algorithm = text(inner, "quant_algo", default=text(found, "quant_algo")).upper()
    if algorithm in _ALGORITHMS:
        return Quantization(_ALGORITHMS[algorithm])
    layers = part(inner, "quantized_layers")
    if layers is None:
        return _compressed_tensors(found)
    mixed = tuple(
        (str(name)[:MAX_PATTERN], _ALGORITHMS[algorithm])
        for name, entry in list(layers.items())[:MAX_IGNORED]
        if isinstance(entry, Mapping) and (algorithm := text(entry, "quant_algo").upper()) in _ALGORITHMS
    )
    # Modules that the list does not name keep their type: the scheme of the rest matches no name.
    return Quantization(SCHEMES["fp8"], mixed=mixed, only_experts=False, ignored=("*",)) if mixed else NONE


_ALGORITHMS: Mapping[str, Scheme] = {
    "FP8": SCHEMES["fp8"],
    "FP8_PER_CHANNEL_PER_TOKEN": SCHEMES["fp8"],
    "FP8_PB_WO": SCHEMES["fp8-block"],
    "NVFP4": SCHEMES["nvfp4"],
    "W4A16_NVFP4": SCHEMES["nvfp4"],
    "NVFP4_AWQ": SCHEMES["nvfp4"],
    "W4A16_AWQ": SCHEMES["awq"],
    "W4A8_AWQ": SCHEMES["awq"],
    "MXFP8": SCHEMES["mxfp8"],
    "INT8_SQ": SCHEMES["int8"],
}
"""Algorithms of NVIDIA's ModelOpt."""


def _compressed_tensors(found: Mapping[str, Any]) -> Quantization:
    groups = part(found, "config_groups") or {}
    schemes = [(entry, _group_scheme(entry)) for entry in groups.values() if isinstance(entry, Mapping)]
    if not schemes:
        raise ConfigError("config.json: quantization_config.config_groups is empty, so the weights' bits are unknown")
    default = next((s for entry, s in schemes if "Linear" in strings(entry, "targets")), schemes[0][1])
    mixed = tuple(
        (target, scheme)
        for entry, scheme in schemes
        for target in strings(entry, "targets")
        if target != "Linear" and len(target) <= MAX_PATTERN
    )
    return Quantization(default, mixed=mixed if len(schemes) > 1 else ())


def _group_scheme(entry: Mapping[str, Any]) -> Scheme:
    weights = part(entry, "weights")
    if weights is None:
        raise ConfigError("config.json: quantization_config.config_groups has a group without weights")
    bits, kind = integer(weights, "num_bits"), text(weights, "type", default="int")
    group = integer(weights, "group_size", default=0, low=-1)
    if kind == "float":
        if bits == 4:
            return replace(SCHEMES["mxfp4" if group == 32 else "nvfp4"], group=group or 16)
        return SCHEMES["fp8-block"] if text(weights, "strategy") == "block" else SCHEMES["fp8"]
    zero = 0 if weights.get("symmetric", True) is not False else bits
    if bits == 8 and group <= 0:
        return SCHEMES["int8"]
    return Scheme(f"int{bits}", bits, max(group, 0), 2, zero)


_READERS = {
    "fp8": _fp8,
    "fbgemm-fp8": _fp8,
    "gptq": _gptq,
    "gptq-marlin": _gptq,
    "auto-round": _gptq,
    "awq": _awq,
    "awq-marlin": _awq,
    "bitsandbytes": _bitsandbytes,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "modelopt-fp4": _modelopt,
    "modelopt-mixed": _modelopt,
    "compressed-tensors": _compressed_tensors,
}


def unquantized_size(tensor: Tensor, dtype: str) -> int:
    """Return the bytes of one copy of a tensor that is not quantized."""
    width = DTYPE_BYTES[tensor.dtype or dtype]
    return tensor.rows * tensor.columns * max(1, tensor.experts) * width


def _is_ignored(patterns: tuple[str, ...], name: str) -> bool:
    return any(_matches(pattern, name) for pattern in patterns)


@functools.lru_cache(maxsize=65536)
def _matches(pattern: str, name: str) -> bool:
    """Return whether a pattern of a checkpoint covers a module whose name has no prefix here."""
    if pattern.startswith("re:"):
        try:
            return re.search(pattern[3:], f"model.{name}") is not None
        except re.error:
            return False
    if "*" in pattern:
        return fnmatchcase(f"model.{name}", f"*{pattern.removeprefix('model.').removeprefix('language_model.')}*")
    wanted = pattern.split("layers.", 1)[-1] if "layers." in pattern else pattern
    own = name.split("layers.", 1)[-1]
    return own == wanted or own.startswith(wanted + ".") or ("layers." not in pattern and wanted in own.split("."))
