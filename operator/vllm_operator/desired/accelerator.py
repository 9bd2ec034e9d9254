"""Devices of a replica, the nodes that have them, and the taints of those nodes."""

from __future__ import annotations

from typing import Any

from vllm_operator.api.spec import Spec
from vllm_operator.desired.model_dump import dump_model
from vllm_operator.vllm.arguments import EngineValues

PRODUCT_LABELS = {
    "nvidia.com/gpu": "nvidia.com/gpu.product",
    "amd.com/gpu": "amd.com/gpu.product-name",
    "google.com/tpu": "cloud.google.com/gke-tpu-accelerator",
    "gpu.intel.com/i915": "gpu.intel.com/product",
    "gpu.intel.com/xe": "gpu.intel.com/product",
}
"""Resource name -> node label with the product, as the feature discovery of each vendor writes it."""


def product_label(resource_name: str) -> str:
    """Return the node label with the product of a resource; `<vendor>/gpu.product` for others, such as MIG slices."""
    if resource_name in PRODUCT_LABELS:
        return PRODUCT_LABELS[resource_name]
    return f"{resource_name.partition('/')[0]}/gpu.product"


def device_count(spec: Spec, values: EngineValues) -> int:
    """Return the number of devices of one replica: `accelerator.count`, else one for each rank of the engine."""
    if not spec.accelerator.resource_name:
        return 0
    if spec.accelerator.count is not None:
        return spec.accelerator.count
    return values.tensor_parallel_size * values.pipeline_parallel_size * values.data_parallel_size


def container_resources(spec: Spec, devices: int) -> dict[str, Any]:
    """Return the resources of the container: those of the spec, and the devices as request and as equal limit."""
    limits, requests = dict(spec.resources.limits), dict(spec.resources.requests)
    if devices:
        name = spec.accelerator.resource_name
        amount = limits.get(name, requests.get(name, devices))
        limits[name] = requests[name] = amount
    return {"limits": limits or None, "requests": requests or None, "claims": dump_model(spec.resources.claims) or None}


def node_selector(spec: Spec) -> dict[str, str]:
    """Return the node selector: the product of the accelerator, and that of the spec."""
    accelerator = spec.accelerator
    product = {product_label(accelerator.resource_name): accelerator.product} if accelerator.product else {}
    return {**product, **spec.scheduling.node_selector}


def tolerations(spec: Spec, devices: int) -> list[dict[str, Any]]:
    """Return the tolerations: the usual taints of accelerator nodes, and those of the spec."""
    keys = _taint_keys(spec.accelerator.resource_name) if devices else ()
    own = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys]
    return own + [item for item in dump_model(spec.scheduling.tolerations) if item not in own]


def _taint_keys(resource_name: str) -> tuple[str, ...]:
    """Return the keys of the usual taints; a node with MIG slices or shared GPUs has the taint of the whole GPU."""
    whole = "nvidia.com/gpu"
    is_part = resource_name.startswith("nvidia.com/") and resource_name != whole
    return (resource_name, whole) if is_part else (resource_name,)
