"""The memory of one engine: what its parts take, and what is left for the KV cache."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from vllm_operator.sizing.activation import BASE_BYTES, HOPPER_BYTES, Peak, ProfileRun, peak
from vllm_operator.sizing.checked_families import is_generic
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import Batch, EngineOptions, largest_batch
from vllm_operator.sizing.gpus import Device
from vllm_operator.sizing.kv_cache import CacheCapacity, CacheDemand, bytes_for, capacity, longest_context
from vllm_operator.sizing.kv_layout import CPU_BLOCK, CPU_LATENT_BLOCK, Layout, layer_specs, layout_of
from vllm_operator.sizing.layers import LayerCache, StateCache
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.overheads import cuda_graphs, non_torch
from vllm_operator.sizing.quantization import Quantization, quantization_of
from vllm_operator.sizing.refusals import refusals
from vllm_operator.sizing.units import DTYPE_BYTES, GIB
from vllm_operator.sizing.weights import (
    BLACKWELL,
    HOPPER,
    MARLIN,
    Padding,
    WeightBytes,
    stage_weights,
    whole_weights,
)

CACHE_BYTES = {"fp8": 1.0, "fp8_e4m3": 1.0, "fp8_e5m2": 1.0, "fp8_inc": 1.0, "fp8_ds_mla": 1.0, "int8": 1.0}
"""Bytes of an element of the KV cache; other names are data types."""


@dataclass(frozen=True)
class Estimate:
    """The memory of one GPU, in bytes, and what its KV cache holds.

    Attributes:
        stage: the pipeline stage with the least room, which all figures are of.
        division: the GPUs of the engine.
        requested: bytes that the engine may use.
        weights, activation, non_torch, cuda_graphs: bytes of each part, as vLLM logs them.
        kv_cache: bytes that are left for the KV cache; negative when the rest does not fit.
        context: `--max-model-len`, or the model's own.
        margin: bytes that the estimate may be wrong by; `fits` leaves them free.
        refusals: reasons for which vLLM refuses to start, whatever memory there is.
        state_blocks: blocks for the states of all sequences, without which CUDA graphs are not captured.
    """

    stage: int
    division: Division
    requested: int
    weights: int
    whole_weights: int
    activation: int
    non_torch: int
    cuda_graphs: int
    kv_cache: int
    token_bytes: float
    context: int
    batch: Batch
    layout: Layout
    demand: CacheDemand
    capacity: CacheCapacity
    longest_context: int
    margin: int
    peak: Peak
    state_blocks: int
    refusals: tuple[str, ...]

    @property
    def needed_for_context(self) -> int:
        """Bytes of one sequence of the full context."""
        return bytes_for(self.layout, self.context, self.demand)

    @property
    def fits(self) -> bool:
        """The engine starts: one sequence of the full context fits, even if the estimate is too low."""
        room = self.kv_cache - self.margin
        if self.refusals:
            return False
        return room >= max(self.needed_for_context, 1) and room >= self.state_blocks * self.layout.block_bytes


def estimate(model: ModelShape, options: EngineOptions, device: Device, weights_bytes: float | None = None) -> Estimate:
    """Return the memory of one engine on GPUs of one kind.

    Args:
        model: the model.
        options: the options of the engine.
        device: the GPU.
        weights_bytes: measured bytes of the whole model's weights, which replace the computed ones.
    """
    if device.kind == "cpu":
        model = _on_cpu(model)
    quantization = _quantization(model, options)
    stages = _stage_weights(model, quantization, options, device, weights_bytes)
    results = [_stage(model, options, device, index, weights) for index, weights in enumerate(stages)]
    return min(results, key=lambda result: (result.capacity.blocks, result.kv_cache))


def _on_cpu(model: ModelShape) -> ModelShape:
    """Return the model with recurrent states of float32, which CPUs with AVX-512 BF16 take (vLLM's cpu.py)."""
    return replace(model, layers=tuple(replace(layer, caches=_wide(layer.caches)) for layer in model.layers))


def _wide(caches: tuple[LayerCache, ...]) -> tuple[LayerCache, ...]:
    return tuple(replace(cache, state_dtype="float32") if isinstance(cache, StateCache) else cache for cache in caches)


def _quantization(model: ModelShape, options: EngineOptions) -> Quantization:
    return quantization_of(options.quantization, model.root, model.config)


def _stage_weights(
    model: ModelShape, quantization: Quantization, options: EngineOptions, device: Device, measured: float | None
) -> list[tuple[int, int]]:
    """Return the weights of one GPU in each stage, and of the whole model."""
    dtype = model_dtype(model, options)
    padding = _padding(options, device)
    computed = stage_weights(model, quantization, options.division, dtype, padding)
    whole = whole_weights(model, quantization, dtype, padding)
    if measured is None:
        return [(part.allocated, whole.allocated) for part in computed]
    return [(int(measured * _share(part, whole)), int(measured)) for part in computed]


def _padding(options: EngineOptions, device: Device) -> Padding:
    if device.vendor == "nvidia" and options.release.number >= (0, 11):
        if device.capability == 9.0:
            return HOPPER
        if 10.0 <= device.capability < 11.0:
            return BLACKWELL
    return MARLIN


def _share(part: WeightBytes, whole: WeightBytes) -> float:
    return part.allocated / whole.allocated


def model_dtype(model: ModelShape, options: EngineOptions) -> str:
    """Return the data type of unquantized weights: float32 checkpoints are served in float16 or bfloat16."""
    wanted = options.dtype
    if wanted and wanted != "auto":
        return wanted if wanted in DTYPE_BYTES else "bfloat16"
    return "bfloat16" if DTYPE_BYTES[model.dtype] != 2 else model.dtype


def cache_element_bytes(model: ModelShape, options: EngineOptions) -> float:
    """Return the bytes of an element of the KV cache."""
    name = options.kv_cache_dtype
    if name == "auto":
        return DTYPE_BYTES[model_dtype(model, options)]
    return CACHE_BYTES.get(name, DTYPE_BYTES.get(name, 2))


def _stage(model: ModelShape, options: EngineOptions, device: Device, index: int, weights: tuple[int, int]) -> Estimate:
    division = options.division
    context = options.max_model_len or model.max_position
    batch = largest_batch(options, device, context, bool(model.towers))
    layout = _layout(model, options, device, index)
    demand = _demand(model, options, batch, device)
    second = uses_second_runner(model, options)
    is_last = index == division.pipeline - 1
    top = peak(model, batch, division, _profile_run(model, options, device, is_last))
    own = non_torch(options, device, is_last)
    graphs = cuda_graphs(model, batch, options, second) if device.kind == "gpu" else 0
    requested = math.ceil(device.memory_bytes * options.utilization)
    left = requested - weights[0] - top.total - own - (graphs if _graphs_counted(second, options) else 0)
    available = _available(options, device, left)
    return Estimate(
        stage=index,
        division=division,
        requested=requested,
        weights=weights[0],
        whole_weights=weights[1],
        activation=top.total,
        non_torch=own,
        cuda_graphs=graphs,
        kv_cache=available,
        token_bytes=sum(group.spec.token_bytes * group.layers for group in layout.groups if group.spec.kind != "state"),
        context=context,
        batch=batch,
        layout=layout,
        demand=demand,
        capacity=capacity(layout, max(available, 0), context, demand, options.release),
        longest_context=longest_context(layout, max(available, 0), model.max_position, demand),
        margin=_margin(options, device, weights[0], top.total) * (2 if is_generic(model) else 1),
        peak=top,
        state_blocks=batch.sequences if _needs_states(model, options) else 0,
        refusals=tuple(refusals(model, options, device, _quantization(model, options))),
    )


def _profile_run(model: ModelShape, options: EngineOptions, device: Device, is_last: bool) -> ProfileRun:
    return ProfileRun(
        sampler="second-runner" if uses_second_runner(model, options) else options.release.sampler,
        width=DTYPE_BYTES[model_dtype(model, options)],
        samples=is_last,
        keeps_experts=options.release.keeps_expert_workspace,
        images=options.images,
        base=HOPPER_BYTES if device.vendor == "nvidia" and device.capability >= 9.0 else BASE_BYTES,
    )


def _layout(model: ModelShape, options: EngineOptions, device: Device, stage: int) -> Layout:
    block = options.block_size
    if device.kind == "cpu":
        block = CPU_LATENT_BLOCK if model.is_latent else block or CPU_BLOCK
    layers = options.division.stages(len(model.layers))[stage]
    return layout_of(layer_specs(model, layers, options.division.tensor, cache_element_bytes(model, options), block))


def _available(options: EngineOptions, device: Device, left: int) -> int:
    """Return the bytes of the KV cache: those of an option, of the CPU's space, or those that are left."""
    if options.kv_cache_memory_bytes is not None:
        return options.kv_cache_memory_bytes
    return device.memory_bytes if device.kind == "cpu" else left


def _needs_states(model: ModelShape, options: EngineOptions) -> bool:
    """Return whether the engine refuses to start with fewer blocks than sequences.

    Since 0.20: "max_num_seqs exceeds available Mamba cache blocks", when CUDA graphs are captured.
    """
    return model.is_hybrid and not options.enforce_eager and options.release.number >= (0, 20)


def _graphs_counted(second: bool, options: EngineOptions) -> bool:
    return options.release.counts_cuda_graphs and (not second or options.release.second_runner_counts_graphs)


def uses_second_runner(model: ModelShape, options: EngineOptions) -> bool:
    """Return whether Model Runner V2 serves the model."""
    quantized = "quantization_config" in model.config or "quantization_config" in model.root
    return options.release.uses_second_runner(model.architecture, model.experts > 0, quantized, model.is_hybrid)


def _demand(model: ModelShape, options: EngineOptions, batch: Batch, device: Device) -> CacheDemand:
    batches = 1
    # CPUs schedule one batch at a time (`async_scheduling = False` in vLLM's cpu.py).
    if options.release.keeps_in_flight_tokens and device.kind != "cpu":
        batches = (
            options.division.pipeline + 1 if uses_second_runner(model, options) else max(2, options.division.pipeline)
        )
    encoder_tokens = batch.tokens if model.encoder_layers else 0
    return CacheDemand(batches * batch.tokens, encoder_tokens, recurrent_blocks=_states(model, options))


def _states(model: ModelShape, options: EngineOptions) -> int:
    """Return the recurrent states that one sequence keeps."""
    caching = options.prefix_caching
    if caching is None:
        caching = options.release.caches_recurrent_prefixes
    caches = [cache for layer in model.layers for cache in layer.caches]
    kinds = {cache.kind for cache in caches if isinstance(cache, StateCache)}
    if not caching or not kinds or all(isinstance(cache, StateCache) for cache in caches):
        return 1
    return 3 if "mamba2" in kinds and options.release.keeps_prefill_states else 2


def _margin(options: EngineOptions, device: Device, weights: int, activation: int) -> int:
    """Return the bytes that the parts may exceed their estimates by.

    1 % of the weights, a quarter of the peak and 0.3 GiB cover the measured starts in tests/data/sizing; an older or
    newer release than those that were read gets twice as much.
    """
    if device.kind == "cpu" or options.kv_cache_memory_bytes is not None:
        return 0
    margin = weights // 100 + activation // 4 + int(0.3 * GIB)
    return margin if options.release.is_known else 2 * margin
