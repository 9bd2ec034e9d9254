"""Causes in the GPU, its memory and its driver."""

from __future__ import annotations

import re

from vllm_operator.diagnosis.causes.row import Cause

_ESTIMATE = re.compile(r"estimated maximum model length is (\d{1,20})")


def _kv_cache(found: re.Match[str]) -> str:
    needed = (
        f"{found['needed']} GiB of KV cache for one request of {found['length']} tokens, and has {found['free']} GiB"
    )
    estimate = _ESTIMATE.search(found.string, found.end())
    remedy = f"set engine.maxModelLen to {estimate[1]} or less" if estimate else "lower engine.maxModelLen"
    return f"needs {needed}: {remedy}, raise engine.gpuMemoryUtilization, or spread the model over more GPUs"


GPU: tuple[Cause, ...] = (
    Cause(
        "kv-cache-too-small",
        "KVCacheTooSmall",
        ("to serve at least one request with the model",),
        r"To serve at least one request with the model.s max seq len \((?P<length>\d+)\), \(?(?P<needed>[\d.]+) GiB KV "
        r"cache is needed, which is larger than the available KV cache memory \((?P<free>[\d.]+) GiB\)",
        _kv_cache,
    ),
    Cause(
        "gpu-memory-no-cache",
        "KVCacheTooSmall",
        ("no available memory for the cache blocks. ",),
        r"No available memory for the cache blocks\. ",
        "the weights leave no GPU memory for the KV cache: raise engine.gpuMemoryUtilization, lower "
        "engine.maxNumSeqs and "
        "engine.maxModelLen, quantize, or spread the model over more GPUs",
    ),
    Cause(
        "gpu-memory-taken",
        "GPUMemoryTaken",
        ("free memory on device ",),
        r"Free memory on device (?:\S{1,64} )?\((?P<free>[\d.]+)/(?P<all>[\d.]+) GiB\) on startup is less than desired "
        r"GPU memory utilization \((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)",
        "only {free} of {all} GiB of the GPU are free, {wanted} are needed: another process uses this GPU; end it, or "
        "set engine.gpuMemoryUtilization below {share}",
    ),
    Cause(
        "gpu-memory-warm-up",
        "OutOfGPUMemory",
        ("cuda out of memory occurred when warming up ",),
        r"CUDA out of memory occurred when warming up \w+ with (?P<requests>\d+) dummy requests",
        "out of GPU memory during the warm-up with {requests} requests: lower engine.maxNumSeqs or "
        "engine.gpuMemoryUtilization",
    ),
    Cause(
        "gpu-memory-load",
        "OutOfGPUMemory",
        (" out of memory. tried to allocate ",),
        r"(?:CUDA|HIP|XPU) out of memory\. Tried to allocate (?P<wanted>[\d.]+ \w+)\.(?: GPU \d+ has a total "
        r"capacity of "
        r"(?P<all>[\d.]+ \w+) of which (?P<free>[\d.]+ \w+) is free)?",
        "out of GPU memory: {wanted} more were needed, {free} of {all} are free: quantize, spread the model over "
        "more GPUs "
        "(engine.tensorParallelSize), or lower engine.maxModelLen and engine.maxNumSeqs",
    ),
    Cause(
        "driver-too-old",
        "DriverMismatch",
        ("the nvidia driver on your system is too old ",),
        r"The NVIDIA driver on your system is too old \(found version (?P<found>\d+)\)",
        "the node's NVIDIA driver is too old for this image (it offers CUDA {found}): update the driver, or use an "
        "image for an older CUDA",
    ),
    Cause(
        "driver-mismatch",
        "DriverMismatch",
        ("error 803: ", "error 804: ", "cuda driver version is insufficient for cuda runtime version"),
        r"(?P<why>Error 80[34]: [^\n]{1,120}|CUDA driver version is insufficient for CUDA runtime version)",
        "{why}: the image's CUDA and the node's NVIDIA driver are incompatible: update the driver, or use an image "
        "for its CUDA",
    ),
    Cause(
        "gpu-architecture",
        "GPUNotSupported",
        ("no kernel image is available for execution on the device",),
        r"no kernel image is available for execution on the device",
        "this image has no code for the node's GPU (no kernel image is available): use an image that is built for "
        "it, or "
        "choose nodes with another GPU by accelerator.product",
    ),
    Cause(
        "no-device",
        "NoAccelerator",
        ("failed to infer device type",),
        r"Failed to infer device type",
        "vLLM found no accelerator: check accelerator.resourceName, the device plugin and the runtime class of the "
        "node, "
        "or use an image for CPUs",
    ),
)
