"""Memory outside of the model: drivers, communication between GPUs, and CUDA graphs.

These are measured figures, not derived ones. `docs/reference/sizing.md` names the measurements.
"""

from __future__ import annotations

from vllm_operator.sizing.engine import Batch, EngineOptions
from vllm_operator.sizing.gpus import Device
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.units import GIB, MIB

ALONE_BYTES = int(0.05 * GIB)
"""Memory that appears outside of PyTorch on one GPU: 0.02 to 0.09 GiB up to 0.16."""

ALONE_BYTES_LATER = int(0.25 * GIB)
"""The same since 0.17: kernels that are compiled and tuned in the profile run stay loaded (0.16 to 0.34 GiB)."""

EARLY_NVLINK = {2: 1.3, 4: 2.1, 8: 2.6, 16: 2.8}
"""GiB of NCCL and custom all-reduce before 0.11, by GPUs of a TP group with NVLink.

Measured: 1.38 on 2 H200 and 1.84 on 4 H100 with 0.10.2, about 2.4 on 4 H100 with 0.9.2.
"""

EARLY_PCIE = {2: 0.15, 4: 0.17, 8: 0.17, 16: 0.3}
"""The same without NVLink: 0.20 to 0.28 GiB with `ALONE_BYTES`, on L40S, RTX 3090 and RTX 4090."""

LATER_NVLINK = {2: 0.2, 4: 0.3, 8: 0.4, 16: 0.5}
"""GiB of them that the first snapshot does not contain, since 0.11."""

LATER_PCIE = {2: 0.1, 4: 0.15, 8: 0.2, 16: 0.3}
"""The same without NVLink."""

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


def non_torch(options: EngineOptions, device: Device) -> int:
    """Return the bytes that appear outside of PyTorch on one GPU."""
    if device.kind != "gpu":
        return 0
    alone = ALONE_BYTES_LATER if options.release.number >= (0, 17) else ALONE_BYTES
    ranks = options.division.tensor * options.division.pipeline
    if ranks == 1:
        return alone
    if options.release.baseline_before_nccl:
        table = EARLY_NVLINK if device.nvlink else EARLY_PCIE
    else:
        table = LATER_NVLINK if device.nvlink else LATER_PCIE
    size = next((gib for number, gib in table.items() if ranks <= number), max(table.values()))
    return alone + int(size * GIB)


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
