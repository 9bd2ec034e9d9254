"""From the options of `kubectl vllm plan` to an estimate and advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from vllm_operator.cli.exits import USAGE, CliError
from vllm_operator.sizing.advice import (
    QuantizationResult,
    advise,
    compare_quantizations,
    concurrency_at,
    smallest_fit,
)
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import EngineOptions
from vllm_operator.sizing.estimate import Estimate, estimate, model_dtype
from vllm_operator.sizing.gpus import Device, UnknownDeviceError, cpu_device, custom_device, find_device
from vllm_operator.sizing.model import ModelShape, parse_model
from vllm_operator.sizing.quantization import quantization_of
from vllm_operator.sizing.release import ReleaseError, parse_release
from vllm_operator.sizing.safetensors_header import HeaderError, header_bytes
from vllm_operator.sizing.sources import LoadedModel, SourceError, read_model
from vllm_operator.sizing.units import GIB
from vllm_operator.sizing.weights import whole_weights


@dataclass(frozen=True)
class Plan:
    """The answer to one call.

    Attributes:
        result: the estimate for the options.
        smallest: the estimate with the fewest GPUs that fits; None when none does.
        contexts: concurrency by context.
        compared: kinds of quantization, when asked for.
        price: price of one GPU for an hour; None when unknown.
        weights_from: what the weights are computed from.
        notes: advice, and what is uncertain.
    """

    source: LoadedModel
    model: ModelShape
    options: EngineOptions
    device: Device
    result: Estimate
    smallest: Estimate | None
    contexts: Mapping[int, float]
    compared: list[QuantizationResult]
    price: float | None
    weights_from: str
    notes: list[str]


def plan(values: Mapping[str, Any]) -> Plan:
    """Return the plan for the options of a command line.

    Raises:
        CliError: the model cannot be read or sized, or an option is wrong.
    """
    try:
        return _plan(values)
    except (ConfigError, SourceError, HeaderError, UnknownDeviceError, ReleaseError) as error:
        raise CliError(str(error), USAGE) from error


def _plan(values: Mapping[str, Any]) -> Plan:
    source = read_model(values["source"])
    model = parse_model(source.config)
    options = _options(values)
    if options.division.pipeline > len(model.layers):
        raise ConfigError(f"--pp {options.division.pipeline}: the model has {len(model.layers)} layers")
    device = _device(values)
    weights, origin = _weights(values, source, model, options)
    result = estimate(model, options, device, weights)
    smallest = None if device.kind == "cpu" else smallest_fit(model, options, device, weights)
    compared = compare_quantizations(model, options, device) if values["compare"] else []
    contexts = {context: concurrency_at(result, context) for context in (result.context, *values["contexts"])}
    notes = advise(model, options, device, result)
    if not options.release.is_known:
        notes.append(f"vLLM {values['vllm_version']} was not read; the rules of the nearest release are used")
    return Plan(source, model, options, device, result, smallest, contexts, compared, values["price"], origin, notes)


def _options(values: Mapping[str, Any]) -> EngineOptions:
    return EngineOptions(
        release=parse_release(values["vllm_version"]),
        division=Division(values["tensor"], values["pipeline"], values["data"], values["experts"]),
        dtype=values["dtype"],
        quantization=values["quantization"],
        kv_cache_dtype=values["kv_cache_dtype"],
        max_model_len=values["max_model_len"],
        gpu_memory_utilization=values["gpu_memory_utilization"],
        kv_cache_memory_bytes=values["kv_cache_memory_bytes"],
        max_num_seqs=values["max_num_seqs"],
        max_num_batched_tokens=values["max_num_batched_tokens"],
        block_size=values["block_size"],
        enforce_eager=values["enforce_eager"],
        prefix_caching=values["prefix_caching"],
        images=values["images"],
    )


def _device(values: Mapping[str, Any]) -> Device:
    name, memory = values["gpu"], values["gpu_memory_gib"]
    if name and name.lower() == "cpu":
        return cpu_device(values["cpu_kv_space_gib"])
    if memory is not None:
        return custom_device(memory)
    if not name:
        raise click.UsageError(
            "name the GPU with --gpu, or its memory with --gpu-memory-gib; --gpus prints the known ones"
        )
    return find_device(name)


def _weights(
    values: Mapping[str, Any], source: LoadedModel, model: ModelShape, options: EngineOptions
) -> tuple[float | None, str]:
    """Return the measured bytes of the whole weights, if there are any, and where they are from."""
    if values["weights_gib"] is not None:
        return values["weights_gib"] * GIB, "--weights-gib"
    if not source.headers:
        return None, "config.json"
    quantization = quantization_of("", model.root, model.config) if _is_sized(model) else None
    stored = header_bytes(source.headers, len(model.layers)).loaded
    if quantization is None:
        return float(stored), "safetensors headers"
    if options.quantization:
        return None, "config.json, because --quantization changes the stored weights"
    computed = whole_weights(model, quantization, model_dtype(model, options))
    # vLLM keeps tables and copies that no checkpoint has.
    return float(stored + computed.derived) * computed.allocated / computed.total, "safetensors headers"


def _is_sized(model: ModelShape) -> bool:
    try:
        quantization_of("", model.root, model.config)
    except ConfigError:
        return False
    return True
