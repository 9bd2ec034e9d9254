"""The output of `kubectl vllm plan`."""

from __future__ import annotations

import math
from typing import Any

from vllm_operator.cli.console import out
from vllm_operator.cli.planning import Plan
from vllm_operator.cli.sanitize import clean
from vllm_operator.sizing.advice import HOURS_PER_MONTH, tensor_sizes
from vllm_operator.sizing.estimate import Estimate
from vllm_operator.sizing.gpus import list_devices
from vllm_operator.sizing.units import GIB


def gib(size: float) -> float:
    """Return bytes as GiB with 4 digits."""
    return round(size / GIB, 4)


def exact_gib(size: int) -> float:
    """Return bytes as GiB with the digits that are needed to compute the bytes from them."""
    return round(size / GIB, 9)


def as_data(answer: Plan) -> dict[str, Any]:
    """Return the plan for JSON and YAML."""
    result = answer.result
    data: dict[str, Any] = {
        "weights_gib": gib(result.weights),
        "activation_gib": gib(result.activation),
        "non_torch_gib": gib(result.non_torch),
        "cuda_graph_gib": gib(result.cuda_graphs),
        "kv_cache_gib": exact_gib(result.kv_cache),
        "kv_cache_tokens": result.capacity.tokens,
        "fits": result.fits,
        "model": answer.source.name,
        "weights_from": answer.weights_from,
        "gpu": answer.device.name,
        "gpus": answer.options.division.gpus,
        "requested_gib": gib(result.requested),
        "weights_total_gib": gib(result.whole_weights),
        "margin_gib": gib(result.margin),
        "kv_bytes_per_token": int(result.token_bytes),
        "kv_cache_blocks": result.capacity.blocks,
        "max_model_len": result.context,
        "max_num_seqs": result.batch.sequences,
        "max_num_batched_tokens": result.batch.tokens,
        "longest_context": result.longest_context,
        "concurrency": {str(context): _number(value) for context, value in answer.contexts.items()},
        "tensor_parallel_sizes": list(tensor_sizes(answer.model)),
        "smallest": _smallest(answer.smallest, answer),
        "notes": answer.notes,
    }
    if answer.compared:
        data["quantization"] = [_quantization(item) for item in answer.compared]
    if answer.price is not None:
        data["cost"] = _cost(answer)
    return data


def _number(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None


def _smallest(smallest: Estimate | None, answer: Plan) -> dict[str, Any] | None:
    if smallest is None:
        return None
    tensor, pipeline = smallest.division.tensor, smallest.division.pipeline
    return {
        "gpus": tensor * pipeline,
        "tensor_parallel_size": tensor,
        "pipeline_parallel_size": pipeline,
        "kv_cache_gib": exact_gib(smallest.kv_cache),
        "kv_cache_tokens": smallest.capacity.tokens,
    }


def _quantization(item: Any) -> dict[str, Any]:
    return {
        "name": item.note.name,
        "weights_gib": gib(item.result.weights),
        "kv_cache_gib": gib(item.result.kv_cache),
        "kv_cache_tokens": item.result.capacity.tokens,
        "fits": item.result.fits,
        "gpu_support": item.support,
        "quality": item.note.quality,
        "speed": item.note.speed,
        "source": item.note.source,
    }


def _cost(answer: Plan) -> dict[str, float]:
    hour = (answer.price or 0) * answer.options.division.gpus
    return {"hour": round(hour, 4), "month": round(hour * HOURS_PER_MONTH, 2)}


def as_text(answer: Plan) -> None:
    """Print the plan for people."""
    from rich.table import Table

    result, console = answer.result, out()
    division = answer.options.division
    console.print(
        f"{clean(answer.source.name)} on {division.gpus} x {answer.device.name}, vLLM {_version(answer)}: "
        + ("fits" if result.fits else "does not fit")
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("PER GPU")
    table.add_column("GIB", justify="right")
    table.add_column("")
    for name, size, note in _rows(answer):
        table.add_row(name, f"{size / GIB:.2f}", note)
    console.print(table)
    for line in _lines(answer):
        console.print(clean(line))
    if answer.compared:
        console.print(_comparison(answer))


def _version(answer: Plan) -> str:
    major, minor = answer.options.release.number
    return f"{major}.{minor}"


def _rows(answer: Plan) -> list[tuple[str, int, str]]:
    result = answer.result
    graphs = "counted" if answer.options.release.counts_cuda_graphs else "captured after the KV cache, on top"
    batch = f"profile run of {result.batch.tokens} tokens, {result.batch.sequences} sequences"
    return [
        ("requested", result.requested, f"{answer.options.utilization:g} of the memory"),
        ("weights", result.weights, f"from {answer.weights_from}; whole model {result.whole_weights / GIB:.2f}"),
        ("activation", result.activation, batch),
        ("non-torch", result.non_torch, "drivers, NCCL"),
        ("CUDA graphs", result.cuda_graphs, graphs if result.cuda_graphs else "none"),
        ("KV cache", result.kv_cache, f"{result.capacity.tokens:,} tokens, {int(result.token_bytes):,} bytes each"),
    ]


def _lines(answer: Plan) -> list[str]:
    result = answer.result
    lines = [f"Longest context of one sequence: {result.longest_context:,} tokens"]
    for context, value in answer.contexts.items():
        lines.append(f"Concurrency at {context:,} tokens: {value:.2f}")
    smallest = answer.smallest
    if smallest is not None:
        tensor, pipeline = smallest.division.tensor, smallest.division.pipeline
        lines.append(
            f"Fewest GPUs: {tensor * pipeline} (--tensor-parallel-size {tensor}, --pipeline-parallel-size {pipeline})"
        )
    if answer.price is not None:
        cost = _cost(answer)
        lines.append(f"Cost: {cost['hour']:g} an hour, {cost['month']:g} a month of {HOURS_PER_MONTH:g} hours")
    return lines + answer.notes


def _comparison(answer: Plan) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("QUANTIZATION", "WEIGHTS GIB", "KV TOKENS", "FITS", "GPU", "QUALITY", "SPEED"):
        table.add_column(heading)
    for item in answer.compared:
        table.add_row(
            item.note.name,
            f"{item.result.weights / GIB:.2f}",
            f"{item.result.capacity.tokens:,}",
            "yes" if item.result.fits else "no",
            item.support,
            item.note.quality,
            item.note.speed,
        )
    return table


def print_gpus() -> None:
    """Print the catalogue."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "NVIDIA-SMI MIB", "USABLE GIB", "CAPABILITY", "GB/S"):
        table.add_column(heading)
    for device in list_devices().values():
        table.add_row(
            device.name,
            str(device.smi_bytes >> 20),
            f"{device.memory_bytes / GIB:.2f}",
            f"{device.capability:g}",
            f"{device.bandwidth / 1e9:g}",
        )
    out().print(table)
