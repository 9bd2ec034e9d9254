"""Reasons for which vLLM refuses to start, whatever memory there is."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_operator.sizing.engine import EngineOptions
from vllm_operator.sizing.gpus import Device
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.quantization import Quantization

BFLOAT16_CAPABILITY = 8.0
"""Lowest compute capability that vLLM takes `--dtype bfloat16` on (`check_if_supports_dtype`)."""

CAPABILITIES = {
    "fp8": 7.5,
    "int8": 7.5,
    "int4": 7.0,
    "mxfp4": 8.0,
    "mxfp8": 8.0,
    "nvfp4": 7.5,
    "bitsandbytes-4bit": 7.0,
    "bitsandbytes-8bit": 7.0,
}
"""Lowest compute capability of each scheme (`get_min_capability` of vLLM's quantization methods)."""


def divides(model: ModelShape, tensor: int) -> str | None:
    """Return why a tensor parallel size is impossible; None when vLLM takes it.

    Source: `verify_with_parallel_config` and `get_num_kv_heads` in vLLM's model.py.
    """
    if model.heads % tensor:
        return f"{model.heads} attention heads are not divisible by {tensor}"
    if not model.is_latent and model.kv_heads % tensor and tensor % model.kv_heads:
        return f"{model.kv_heads} heads of keys and values neither divide {tensor} nor are divided by it"
    if model.mlp_size % tensor:
        return f"the MLP's width {model.mlp_size} is not divisible by {tensor}"
    return None


def refusals(model: ModelShape, options: EngineOptions, device: Device, quantization: Quantization) -> Iterator[str]:
    """Yield the reasons for which vLLM refuses the options, as sentences."""
    tensor = options.division.tensor
    if reason := divides(model, tensor):
        yield f"--tensor-parallel-size {tensor} is impossible: {reason}"
    if device.vendor != "nvidia" or not device.capability:
        return
    if options.dtype == "bfloat16" and device.capability < BFLOAT16_CAPABILITY:
        yield f"{device.name} has compute capability {device.capability:g}, and bfloat16 needs 8.0: use --dtype float16"
    scheme = quantization.scheme
    lowest = CAPABILITIES.get(scheme.name, 0.0) if scheme else 0.0
    if scheme and device.capability < lowest:
        yield f"{device.name} has compute capability {device.capability:g}, and {scheme.name} needs {lowest:g}"
