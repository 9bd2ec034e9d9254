"""The options of `kubectl vllm plan` that a VLLMServer gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vllm_operator.api.server import parse_server
from vllm_operator.api.spec import Spec
from vllm_operator.cli.exits import USAGE, CliError
from vllm_operator.cli.manifests import NAMESPACE, documents_of
from vllm_operator.offline.judgement import judge, stored_server
from vllm_operator.vllm.arguments import engine_values, extra_flags
from vllm_operator.vllm.version import shown_version

PRODUCT_LABEL = "nvidia.com/gpu.product"
"""Label of nodes that names their GPU (NVIDIA's GPU Feature Discovery)."""

UNCOUNTED = {
    "--cpu-offload-gb": "weights in the memory of the host",
    "--decode-context-parallel-size": "a KV cache that is divided by context",
    "--enable-lora": "LoRA adapters",
    "--hf-overrides": "changes to the config.json",
    "--speculative-config": "the draft model",
}
"""Flags of extraArgs that change the memory, and are not counted."""


def values_of_manifest(
    text: str, values: Mapping[str, Any], given: Collection[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the options with those of a VLLMServer, and notes about what is not counted.

    Args:
        text: the manifest.
        values: the options of the command line, with their defaults.
        given: names of the options that the command line has: they win.

    Raises:
        CliError: the file is no VLLMServer, has several, or the server is refused.
    """
    documents = documents_of(text)
    if len(documents) != 1:
        raise CliError(f"the file has {len(documents)} VLLMServers: plan sizes one; give it a file with one", USAGE)
    judgement = judge(documents[0], NAMESPACE)
    if not judgement.accepted:
        causes = "\n".join(f"  {problem.message}" for problem in judgement.problems)
        raise CliError(f"{judgement.name} is refused, so there is nothing to size:\n{causes}")
    spec = parse_server(stored_server(documents[0].body, NAMESPACE)).spec
    named = {name: value for name, value in _values(spec).items() if value is not None and name not in given}
    return {**values, **named}, list(_notes(spec))


def _values(spec: Spec) -> dict[str, Any]:
    engine, sizes, shown = spec.engine, engine_values(spec), shown_version(spec)
    flags = {flag.name for flag in extra_flags(spec)}
    return {
        "source": _source(spec),
        "gpu": _gpu(spec),
        "tensor": sizes.tensor_parallel_size,
        "pipeline": sizes.pipeline_parallel_size,
        "data": sizes.data_parallel_size,
        "experts": True if "--enable-expert-parallel" in flags else None,
        "dtype": engine.dtype,
        "quantization": engine.quantization,
        "kv_cache_dtype": engine.kv_cache_dtype,
        "max_model_len": engine.max_model_len,
        "gpu_memory_utilization": engine.gpu_memory_utilization,
        "max_num_seqs": sizes.max_num_seqs,
        "max_num_batched_tokens": engine.max_num_batched_tokens,
        "enforce_eager": engine.enforce_eager,
        "prefix_caching": engine.enable_prefix_caching,
        "vllm_version": ".".join(map(str, shown.number)) if shown else None,
    }


def _source(spec: Spec) -> str | None:
    """Return the model as `--config` takes it; None for a path that exists in the cluster only."""
    uri, revision = spec.model.uri.strip(), spec.model.revision
    if uri.startswith(("pvc://", "file://")):
        return None
    return f"hf://{uri.removeprefix('hf://')}@{revision}" if revision else uri


def _gpu(spec: Spec) -> str | None:
    if not spec.accelerator.resource_name:
        return "CPU"
    return spec.accelerator.product or spec.scheduling.node_selector.get(PRODUCT_LABEL)


def _notes(spec: Spec) -> list[str]:
    notes = [
        f"{flag.name} of extraArgs is not counted: {UNCOUNTED[flag.name]}"
        for flag in extra_flags(spec)
        if flag.name in UNCOUNTED
    ]
    if spec.engine.speculative_config:
        notes.append("speculativeConfig is not counted: the draft model takes memory for weights and a KV cache")
    return notes
