"""Answers that follow from an estimate: how many GPUs, which parallelism, which quantization, which cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vllm_operator.sizing.checked_families import doubts
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import EngineOptions
from vllm_operator.sizing.estimate import Estimate, estimate
from vllm_operator.sizing.gpus import Device
from vllm_operator.sizing.kv_cache import blocks_for
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.quantization import SCHEMES
from vllm_operator.sizing.refusals import divides

NODE_GPUS = 8
"""GPUs of the largest common nodes; tensor parallelism beyond a node runs over the network."""

MAX_STAGES = 8
"""Pipeline stages that are tried."""

HOURS_PER_MONTH = 730.0


@dataclass(frozen=True)
class QuantizationNote:
    """Published findings about a kind of quantization.

    Attributes:
        name: value for a comparison; `SCHEMES` has its arithmetic.
        native: lowest compute capability that computes in it; others only store the weights in it.
        stored: lowest compute capability that vLLM runs it on.
        quality, speed: published findings.
        source: where they are published.
    """

    name: str
    native: float
    stored: float
    quality: str
    speed: str
    source: str


_STUDY = "https://arxiv.org/abs/2411.02355"

QUANTIZATIONS = (
    QuantizationNote("none", 7.0, 7.0, "the model's own", "the reference", ""),
    QuantizationNote(
        "fp8", 8.9, 8.0, "no measurable loss (W8A8-FP)", "best throughput with many requests, with int8", _STUDY
    ),
    QuantizationNote(
        "int8", 7.5, 7.5, "1 to 3 % loss (W8A8-INT)", "best throughput with many requests, with fp8", _STUDY
    ),
    QuantizationNote(
        "gptq",
        8.0,
        7.0,
        "close to 8 bits (W4A16-INT)",
        "lowest latency with few requests, lower throughput with many",
        _STUDY,
    ),
    QuantizationNote(
        "awq",
        8.0,
        7.5,
        "close to 8 bits (W4A16-INT)",
        "lowest latency with few requests, lower throughput with many",
        _STUDY,
    ),
    QuantizationNote(
        "nvfp4",
        10.0,
        8.0,
        "about 1 % loss for large models",
        "up to twice the arithmetic of fp8 on Blackwell",
        "https://developer.nvidia.com/blog/introducing-nvfp4-for-efficient-and-accurate-low-precision-inference/",
    ),
    QuantizationNote(
        "bitsandbytes",
        7.0,
        7.0,
        "between 4-bit methods, without calibration",
        "slower than the others",
        "https://docs.vllm.ai/en/latest/features/quantization/bnb.html",
    ),
)
"""Methods that are compared; sources of the capabilities: https://docs.vllm.ai/en/latest/features/quantization/."""


@dataclass(frozen=True)
class QuantizationResult:
    """A quantization on one GPU: its note, the estimate, and whether the GPU runs it."""

    note: QuantizationNote
    result: Estimate
    support: str


def tensor_sizes(model: ModelShape, limit: int = NODE_GPUS) -> tuple[int, ...]:
    """Return the tensor parallel sizes that vLLM takes, up to a node's GPUs."""
    return tuple(size for size in range(1, limit + 1) if divides(model, size) is None)


def smallest_fit(
    model: ModelShape, options: EngineOptions, device: Device, weights_bytes: float | None = None
) -> Estimate | None:
    """Return the estimate with the fewest GPUs that fits; None when 8 nodes of 8 GPUs do not.

    Tensor parallelism within a node comes first: it halves the latency of weights, too. Pipeline stages add nodes.
    """
    sizes = [size for size in tensor_sizes(model) if size & (size - 1) == 0] or [1]
    for stages in range(1, MAX_STAGES + 1):
        for tensor in sizes if stages == 1 else sizes[-1:]:
            result = _try(model, options, device, Division(tensor, stages, 1, options.division.experts), weights_bytes)
            if result is not None and result.fits:
                return result
    return None


def _try(
    model: ModelShape, options: EngineOptions, device: Device, division: Division, weights_bytes: float | None
) -> Estimate | None:
    if division.pipeline > len(model.layers):
        return None
    return estimate(model, replace(options, division=division), device, weights_bytes)


def concurrency_at(result: Estimate, context: int) -> float:
    """Return the sequences of a length that the KV cache holds at once."""
    if not result.layout.groups:
        return float("inf")
    return result.capacity.blocks / blocks_for(result.layout, context, result.demand)


def compare_quantizations(model: ModelShape, options: EngineOptions, device: Device) -> list[QuantizationResult]:
    """Return the estimate of each kind of quantization for a model whose checkpoint has 16 bits.

    Raises:
        ConfigError: the checkpoint is quantized, so its 16-bit weights are unknown.
    """
    if "quantization_config" in model.config or "quantization_config" in model.root:
        raise ConfigError("the checkpoint is quantized; give the config.json of the unquantized model to compare")
    compared = []
    for note in QUANTIZATIONS:
        name = "" if note.name == "none" else note.name
        if name and name not in SCHEMES:
            continue
        result = estimate(model, replace(options, quantization=name), device)
        compared.append(QuantizationResult(note, result, _support(note, device)))
    return compared


def _support(note: QuantizationNote, device: Device) -> str:
    if device.vendor != "nvidia" or not device.capability:
        return "unknown"
    if device.capability >= note.native:
        return "native"
    return "weights only" if device.capability >= note.stored else "no"


def advise(model: ModelShape, options: EngineOptions, device: Device, result: Estimate) -> list[str]:
    """Return advice in sentences, the most important first."""
    lines = [*result.refusals, *doubts(model)]
    if divides(model, options.division.tensor):
        sizes = tensor_sizes(model, max(NODE_GPUS, options.division.tensor))
        lines.append(f"Possible tensor parallel sizes are {', '.join(map(str, sizes))}")
    if not result.fits and not result.refusals:
        lines.append(_why_not(result))
    if options.max_model_len and options.max_model_len > model.max_position:
        lines.append(
            f"--max-model-len {options.max_model_len} is more than the model's {model.max_position}: vLLM refuses it "
            "unless rope_scaling extends the model"
        )
    if options.division.tensor > 1:
        lines.extend(_about_tensor_parallelism(model, options.division.tensor, device, result))
    return lines


def _about_tensor_parallelism(model: ModelShape, tensor: int, device: Device, result: Estimate) -> Iterator[str]:
    if tensor > NODE_GPUS:
        yield (
            f"Keep tensor parallelism within a node: use --tensor-parallel-size {NODE_GPUS}, "
            "and pipeline stages across nodes"
        )
    if not device.nvlink and device.vendor == "nvidia":
        yield f"{device.name} has no NVLink: each layer waits for PCIe; pipeline stages need less bandwidth"
    if model.is_latent:
        yield "Each GPU of a TP group keeps the whole latent KV cache (MLA); data parallelism avoids the copies"
    elif not model.is_hybrid and tensor > model.kv_heads:
        copies = tensor // model.kv_heads
        yield f"The model has {model.kv_heads} heads of keys and values: {tensor} GPUs keep {copies} copies of each"
    if result.fits and result.kv_cache > 2 * result.weights:
        yield "The KV cache is larger than the weights need: replicas with fewer GPUs each give more throughput"


def _why_not(result: Estimate) -> str:
    if result.kv_cache <= 0:
        return (
            "The weights leave no memory for a KV cache: use more GPUs, a quantized checkpoint, or a smaller "
            "--max-num-seqs and --max-num-batched-tokens"
        )
    if result.capacity.blocks < result.state_blocks:
        return (
            f"Each of {result.state_blocks} sequences needs a block for its recurrent state, and there are "
            f"{result.capacity.blocks}: set --max-num-seqs to {max(1, result.capacity.blocks)} or less"
        )
    if result.kv_cache >= result.needed_for_context:
        return (
            "It may fit, but the estimate's margin does not: lower --max-model-len, or raise --gpu-memory-utilization"
        )
    return (
        f"One sequence of {result.context} tokens does not fit: "
        f"set --max-model-len to {result.longest_context} or less, use more GPUs, or --kv-cache-dtype fp8"
    )
