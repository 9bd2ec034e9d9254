"""The memory that a server's model takes, where it is known without reading a file of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from vllm_operator.api.spec import Spec
from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import EngineOptions
from vllm_operator.sizing.estimate import CACHE_BYTES, Estimate, estimate
from vllm_operator.sizing.gpus import Device, UnknownDeviceError, cpu_device, custom_device, find_device
from vllm_operator.sizing.known_models import known_model
from vllm_operator.sizing.model import parse_model
from vllm_operator.sizing.release import ReleaseError, parse_release
from vllm_operator.sizing.units import DTYPE_BYTES, GIB
from vllm_operator.vllm.arguments import engine_values, extra_flags
from vllm_operator.vllm.version import shown_version

PRODUCT_LABEL = "nvidia.com/gpu.product"
"""Label of nodes that names their GPU (NVIDIA's GPU Feature Discovery)."""

NEWEST = "0.32.0"
"""Release of vLLM whose rules count where a spec shows none; weights and bytes of a token hardly differ."""

ANY_GPU = custom_device(80)
"""Weights and the bytes of a sequence do not depend on the memory of the GPU."""

CPU = cpu_device(1)
"""The same for the space of the KV cache on a CPU."""

OTHER_SIZES = frozenset(
    {
        "--block-size",
        "--compilation-config",
        "--config",
        "--config-format",
        "--cpu-offload-gb",
        "--decode-context-parallel-size",
        "--disable-hybrid-kv-cache-manager",
        "--dtype",
        "--enable-expert-parallel",
        "--enable-lora",
        "--enable-prefix-caching",
        "--enforce-eager",
        "--gpu-memory-utilization",
        "--hf-config-path",
        "--hf-overrides",
        "--kv-cache-dtype",
        "--kv-cache-memory-bytes",
        "--kv-offloading-size",
        "--limit-mm-per-prompt",
        "--mamba-block-size",
        "--mamba-cache-dtype",
        "--mamba-cache-mode",
        "--mamba-ssm-cache-dtype",
        "--max-model-len",
        "--max-num-batched-tokens",
        "--model",
        "--num-gpu-blocks-override",
        "--optimization-level",
        "--prefill-context-parallel-size",
        "--quantization",
        "--revision",
        "--skip-mm-profiling",
        "--speculative-config",
        "--swap-space",
    }
)
"""Flags of extraArgs that change the memory in ways that are not computed here."""


@dataclass(frozen=True)
class Memory:
    """The computed memory of one engine.

    Attributes:
        fields: `status.sizing`.
        notes: reasons for which vLLM may not start, for the condition `Accepted`.
    """

    fields: Mapping[str, int | bool]
    notes: tuple[str, ...] = ()


UNKNOWN = Memory(MappingProxyType({}))
"""The model is in no table, or a setting is not computed."""


@dataclass(frozen=True)
class _Question:
    """The parts of a spec that decide the memory."""

    model: str
    release: str
    division: Division
    resource: str
    product: str
    dtype: str
    quantization: str
    kv_cache_dtype: str
    context: int | None
    utilization: float | None
    sequences: int | None
    batched: int | None
    prefix_caching: bool | None
    eager: bool


def memory_of(spec: Spec) -> Memory:
    """Return the memory of a valid spec; `UNKNOWN` for a model that is in no table."""
    name = spec.model.uri.strip().removeprefix("hf://")
    if known_model(name) is None or spec.model.revision or spec.engine.speculative_config:
        return UNKNOWN
    if any(flag.name in OTHER_SIZES for flag in extra_flags(spec)):
        return UNKNOWN
    return _memory(_question(spec, name))


def _question(spec: Spec, name: str) -> _Question:
    engine, values, shown = spec.engine, engine_values(spec), shown_version(spec)
    division = Division(values.tensor_parallel_size, values.pipeline_parallel_size, values.data_parallel_size)
    ranks = division.tensor * division.pipeline * division.data
    own = spec.accelerator.count in {None, ranks}
    return _Question(
        model=name,
        release=".".join(map(str, shown.number)) if shown else "",
        division=division,
        resource=spec.accelerator.resource_name,
        product=_product(spec) if own else "",
        dtype=engine.dtype or "auto",
        quantization=engine.quantization or "",
        kv_cache_dtype=engine.kv_cache_dtype or "auto",
        context=engine.max_model_len,
        utilization=engine.gpu_memory_utilization,
        sequences=values.max_num_seqs,
        batched=engine.max_num_batched_tokens,
        prefix_caching=engine.enable_prefix_caching,
        eager=bool(engine.enforce_eager),
    )


def _product(spec: Spec) -> str:
    return spec.accelerator.product or spec.scheduling.node_selector.get(PRODUCT_LABEL, "")


@lru_cache(maxsize=1024)
def _memory(question: _Question) -> Memory:
    """Compute the memory once for equal specs: a reconcile only looks it up."""
    known, device = known_model(question.model), _device(question)
    if known is None or device is None or not _names_are_known(question):
        return UNKNOWN
    try:
        model = parse_model(known.config)
        if question.division.pipeline > len(model.layers):
            return UNKNOWN
        result = estimate(model, _options(question), device)
    except (ConfigError, ReleaseError):
        return UNKNOWN
    return _answer(question, device, result)


def _names_are_known(question: _Question) -> bool:
    cache = question.kv_cache_dtype
    return (cache == "auto" or cache in CACHE_BYTES or cache in DTYPE_BYTES) and (
        question.dtype == "auto" or question.dtype in DTYPE_BYTES
    )


def _device(question: _Question) -> Device | None:
    """Return the device; `ANY_GPU` for a GPU that the spec does not name, None for accelerators that are no GPUs."""
    if not question.resource:
        return CPU
    if question.resource == "nvidia.com/gpu" and question.product:
        try:
            return find_device(question.product)
        except UnknownDeviceError:
            return ANY_GPU
    return ANY_GPU if question.resource.startswith(("nvidia.com/", "amd.com/")) else None


def _options(question: _Question) -> EngineOptions:
    return EngineOptions(
        release=parse_release(question.release or NEWEST),
        division=question.division,
        dtype=question.dtype,
        quantization=question.quantization,
        kv_cache_dtype=question.kv_cache_dtype,
        max_model_len=question.context,
        gpu_memory_utilization=question.utilization,
        max_num_seqs=question.sequences,
        max_num_batched_tokens=question.batched,
        enforce_eager=question.eager,
        prefix_caching=question.prefix_caching,
    )


def _answer(question: _Question, device: Device, result: Estimate) -> Memory:
    if result.refusals:
        return Memory({}, tuple(f"vLLM will not start: {reason}" for reason in result.refusals))
    fields: dict[str, int | bool] = {"weightsBytes": result.weights, "contextBytes": result.needed_for_context}
    if device.kind != "gpu" or device is ANY_GPU or not question.release:
        return Memory(fields)
    fields |= {"kvCacheTokens": result.capacity.tokens, "fits": result.fits}
    return Memory(fields, () if result.fits else (_room_note(device, result),))


def _room_note(device: Device, result: Estimate) -> str:
    room = max(result.kv_cache - result.margin, 0)
    return (
        f"vLLM may not start: of the memory of {device.name}, the weights take {result.weights / GIB:.1f} GiB, and "
        f"{room / GIB:.1f} GiB are sure to be left for the KV cache, of which one sequence of {result.context} tokens "
        f"takes {result.needed_for_context / GIB:.1f} GiB: `kubectl vllm plan` shows what fits"
    )
