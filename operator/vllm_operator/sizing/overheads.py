"""Memory outside of the model: drivers, communication between GPUs, and CUDA graphs.

These are measured figures, not derived ones. `docs/reference/sizing.md` names the measurements.
"""

from __future__ import annotations

from vllm_operator.sizing.engine import Batch, EngineOptions
from vllm_operator.sizing.gpus import Device
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.units import GIB, MIB

ALONE_GIB = 0.05
"""GiB outside of PyTorch on one GPU, to 0.17: 0.02 to 0.09 on A6000, A100, L40S, RTX 3090 and V100."""

ALONE_HOPPER_GIB = 0.13
"""The same on Hopper and later: 0.13 on H100 with 0.11.0, 0.15.0, 0.16.0 and 0.17.0."""

ALONE_LATER_GIB = 0.25
"""The same since 0.18, whose profile run captures CUDA graphs: 0.24 to 0.27 on H100 with 0.18.0 and 0.19.0."""

INNER_STAGE_GIB = 0.07
"""The same for a pipeline stage that does not sample: 0.07 on H100 with 0.19.0, 2 and 4 stages."""

EARLY_NVLINK = {2: 1.3, 4: 2.1, 8: 2.6, 16: 2.8}
"""GiB of NCCL and custom all-reduce before 0.11, by GPUs of a TP group with NVLink.

Measured: 1.38 on 2 H200 and 1.84 on 4 H100 with 0.10.2, about 2.4 on 4 H100 with 0.9.2.
"""

EARLY_PCIE = {2: 0.15, 4: 0.17, 8: 0.17, 16: 0.3}
"""The same without NVLink: 0.20 to 0.28 GiB with `ALONE_GIB`, on L40S, RTX 3090 and RTX 4090."""

LATER_NVLINK = {2: 0.41, 4: 0.45, 8: 0.5, 16: 0.6}
"""GiB of them that the first snapshot does not contain, since 0.11: 0.41 on 2 H100 with 0.11.0."""

LATER_PCIE = {2: 0.1, 4: 0.15, 8: 0.2, 16: 0.3}
"""The same without NVLink."""

FUSED_HOPPER = {2: 1.82, 4: 1.92, 8: 2.0, 16: 2.1}
"""The same on Hopper with FlashInfer's buffers for fused all-reduce (since 0.17).

Measured on H100 with 0.19.0: 2.06 to 2.11 on 2 GPUs, 2.13 to 2.21 on 4, of which `ALONE_LATER_GIB` is a part.
"""

FUSED_BLACKWELL = {2: 0.7, 4: 0.7, 8: 0.8, 16: 0.9}
"""The same on B200, GB200 and B300: 0.95 on 4 GB200, of which `ALONE_LATER_GIB` is a part."""

SECOND_RUNNER_GRAPHS = 1.5
"""Factor for the estimate of Model Runner V2, which captures all mixed graphs and extrapolates the others.

Measured: 1.44 GiB of activation and graphs for Llama-3.1-8B on A100 with 0.31.
"""

GRAPH_LAYER_BYTES = int(0.268 * MIB)
"""Estimated bytes of a captured graph and layer.

Fitted to "Estimated CUDA graph memory" with 86 graphs: 0.58 GiB with 28 layers, 1.59 GiB with 64.
"""

GRAPH_BASE_BYTES = int(0.06 * GIB)
"""Estimated bytes of the first capture."""


HYBRID_GRAPHS = 0.72
"""Factor for models with recurrent layers: 1.11 GiB with 64 layers and 86 graphs (Qwen3.5-27B on L40S, 0.26)."""


def non_torch(options: EngineOptions, device: Device, is_last_stage: bool = True) -> int:
    """Return the bytes that appear outside of PyTorch on one GPU.

    Args:
        options: the options of the engine.
        device: the GPU.
        is_last_stage: whether the GPU samples; the stages before do not load the kernels for it.
    """
    if device.kind != "gpu":
        return 0
    alone = _alone(options, device) if is_last_stage else INNER_STAGE_GIB
    tensor = options.division.tensor
    ranks = tensor * options.division.pipeline
    if ranks == 1 or (tensor == 1 and not options.release.baseline_before_nccl):
        return int(alone * GIB)
    table = _communication(options, device)
    size = next((gib for number, gib in table.items() if ranks <= number), max(table.values()))
    return int((alone + size) * GIB)


def _alone(options: EngineOptions, device: Device) -> float:
    if options.release.captures_in_profile:
        return ALONE_LATER_GIB
    if device.capability >= 9.0 and device.vendor == "nvidia" and options.release.number >= (0, 11):
        return ALONE_HOPPER_GIB
    return ALONE_GIB


def _communication(options: EngineOptions, device: Device) -> dict[int, float]:
    release, division = options.release, options.division
    if release.baseline_before_nccl:
        return EARLY_NVLINK if device.nvlink else EARLY_PCIE
    if not device.nvlink:
        return LATER_PCIE
    is_nvidia = device.vendor == "nvidia" and not options.enforce_eager
    if is_nvidia and release.fuses_all_reduce(device.capability, division.pipeline, division.data):
        return FUSED_HOPPER if device.capability < 10.0 else FUSED_BLACKWELL
    return LATER_NVLINK


def graph_count(batch: Batch) -> int:
    """Return the number of CUDA graphs that are captured: mixed batches, and decodes alone.

    Source: `_set_cudagraph_sizes` in vLLM's vllm.py.
    """
    largest = min(2 * batch.sequences, 512, batch.tokens)
    return _sizes_up_to(largest) + _sizes_up_to(min(batch.sequences, largest))


def _sizes_up_to(largest: int) -> int:
    small = sum(1 for size in (1, 2, 4) if size <= largest)
    return small + max(0, min(largest, 255) // 8) + max(0, (largest - 256) // 16 + 1 if largest >= 256 else 0)


def cuda_graphs(model: ModelShape, batch: Batch, options: EngineOptions, second_runner: bool) -> int:
    """Return the estimated bytes of all captured CUDA graphs on one GPU; 0 with `--enforce-eager`."""
    if options.enforce_eager:
        return 0
    layers = max(1, len(model.layers) // options.division.pipeline)
    size = GRAPH_BASE_BYTES + graph_count(batch) * layers * GRAPH_LAYER_BYTES
    if model.is_hybrid:
        size = int(size * HYBRID_GRAPHS)
    return int(size * SECOND_RUNNER_GRAPHS) if second_runner else size
