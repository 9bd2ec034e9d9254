"""Items about the arguments of vLLM."""

from __future__ import annotations

from vllm_operator.cli.checks.item import CheckItem, CheckResult, CheckSubject, does_not_apply, passes
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import field
from vllm_operator.vllm.arguments import engine_values
from vllm_operator.vllm.version import vllm_version

SECTION = "Server"

USUAL_MEMORY = (0.85, 0.95)
"""Fractions of the GPU's memory that are usual in production (guide, production checklist)."""

DEFAULT_MEMORY = (0.9, 0.92)
"""vLLM's default before 0.20 and since (the measured flags in `vllm/releases`)."""


def memory(subject: CheckSubject) -> CheckResult:
    """Judge --gpu-memory-utilization."""
    if not subject.uses_accelerator:
        return does_not_apply("accelerator.resourceName is empty: the replicas run on CPUs")
    value = subject.flag("--gpu-memory-utilization")
    if value is None:
        version = vllm_version(subject.spec)
        old, new = DEFAULT_MEMORY
        default = f"{old:g} up to 0.19, {new:g} since" if version is None else f"{new if version >= (0, 20) else old:g}"
        return passes(f"engine.gpuMemoryUtilization is unset: vLLM's default applies ({default})")
    try:
        number = float(value)
    except ValueError:
        return CheckResult("fail", f"--gpu-memory-utilization is {value!r}", "write a number such as 0.9")
    low, high = USUAL_MEMORY
    if low <= number <= high:
        return passes(f"gpuMemoryUtilization is {number:g}")
    why = "leaves memory of the GPU unused" if number < low else "leaves little room, and vLLM may run out of memory"
    return CheckResult("warn", f"gpuMemoryUtilization is {number:g}, which {why}", f"set it from {low} to {high}")


def prefix_caching(subject: CheckSubject) -> CheckResult:
    """Judge --enable-prefix-caching."""
    if subject.is_negated("--enable-prefix-caching"):
        return CheckResult(
            "warn",
            "prefix caching is turned off",
            "remove engine.enablePrefixCaching: false, if prompts begin alike (system prompts, documents, chats)",
        )
    if subject.flag("--enable-prefix-caching") is not None:
        return passes("engine.enablePrefixCaching is true")
    return passes("unset: vLLM's V1 engine reuses prefixes by default, for models that support it")


def context_length(subject: CheckSubject) -> CheckResult:
    """Judge --max-model-len."""
    value = subject.flag("--max-model-len")
    live = field(subject.status, "capacity", "maxModelLen")
    capacity = f"; vLLM reports {live:,}" if isinstance(live, int) else ""
    if value is not None:
        return passes(f"engine.maxModelLen is {value}{capacity}")
    return CheckResult(
        "warn",
        f"engine.maxModelLen is unset: the longest context of the model applies{capacity}",
        "set it to the longest prompt and answer that you need: a longer context takes KV cache from other requests",
    )


def quantization(subject: CheckSubject) -> CheckResult:
    """Judge --quantization, which matters only when memory is scarce."""
    value = subject.flag("--quantization")
    if value is not None:
        return passes(f"engine.quantization is {value}")
    return passes(
        "engine.quantization is unset: the model's own configuration decides; kubectl vllm plan compares the memory"
    )


def parallelism(subject: CheckSubject) -> CheckResult:
    """Judge --tensor-parallel-size against the devices of a replica, and of a node where they are known."""
    if not subject.uses_accelerator:
        return does_not_apply("accelerator.resourceName is empty: the replicas run on CPUs")
    values = engine_values(subject.spec)
    ranks = values.tensor_parallel_size * values.pipeline_parallel_size * values.data_parallel_size
    count = subject.spec.accelerator.count
    devices = ranks if count is None else count
    found = f"{ranks} engine ranks (tensor {values.tensor_parallel_size} x pipeline {values.pipeline_parallel_size} "
    found += f"x data {values.data_parallel_size}) on {devices} {clean(subject.spec.accelerator.resource_name)}"
    if devices > ranks:
        return CheckResult(
            "warn",
            f"{found}: {devices - ranks} stay unused, unless one has several cores",
            f"set engine.tensorParallelSize to {devices}, or lower accelerator.count",
        )
    if devices < ranks:
        return CheckResult("warn", f"{found}: several ranks share a device", f"set accelerator.count to {ranks}")
    if subject.nodes is not None and devices > subject.nodes:
        return CheckResult(
            "fail",
            f"{found}; the largest node has {subject.nodes}",
            "lower engine.tensorParallelSize, quantize the model, or add a node with enough devices",
        )
    return passes(found)


ITEMS = (
    CheckItem("gpu-memory", SECTION, "Fraction of GPU memory", memory),
    CheckItem("prefix-caching", SECTION, "Prefix caching", prefix_caching),
    CheckItem("context-length", SECTION, "Longest context", context_length),
    CheckItem("quantization", SECTION, "Quantization", quantization),
    CheckItem("parallelism", SECTION, "Parallelism for the devices", parallelism),
)
