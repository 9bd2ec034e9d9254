"""Convert the resources of a container: the accelerator, CPU and memory."""

from __future__ import annotations

import math
from typing import Any

from vllm_operator.conversion.result import Draft, mapping, shown
from vllm_operator.kube.quantity import parse_quantity

DEVICES = ("nvidia.com/", "amd.com/", "google.com/tpu", "gpu.intel.com/", "habana.ai/", "aws.amazon.com/neuron")
"""Prefixes of resources that are accelerators; others with a slash are passed on."""

SHARES = ("nvidia.com/gpumem", "nvidia.com/gpucores", "nvidia.com/gpumem-percentage")
"""Resources of HAMi that divide a GPU: the count of devices is in nvidia.com/gpu."""


def convert_resources(resources: dict[str, Any], draft: Draft) -> None:
    """Add the resources to a draft; a container without an accelerator runs on CPUs."""
    limits, requests = mapping(resources.get("limits")), mapping(resources.get("requests"))
    name = device_of({**requests, **limits})
    if name is None:
        draft.spec.setdefault("accelerator", {})["resourceName"] = ""
    else:
        convert_devices(name, {**requests, **limits}[name], draft)
    for kind, amounts in (("limits", limits), ("requests", requests)):
        draft.set(f"resources.{kind}", {key: _written(value) for key, value in amounts.items() if key != name})
    if resources.get("claims"):
        draft.set("resources.claims", resources["claims"])


def device_of(amounts: dict[str, Any]) -> str | None:
    """Return the resource that is the accelerator."""
    found = [key for key in amounts if key.startswith(DEVICES) and key not in SHARES and _whole(amounts[key]) > 0]
    return found[0] if found else None


def convert_devices(name: str, amount: Any, draft: Draft) -> None:
    """Add an accelerator; its count only where it differs from what the engine needs."""
    draft.set("accelerator.resourceName", None if name == "nvidia.com/gpu" else name)
    engine = draft.get("engine") or {}
    ranks = 1
    for field in ("tensorParallelSize", "pipelineParallelSize", "dataParallelSize"):
        value = engine.get(field)
        ranks *= value if isinstance(value, int) else 1
    count = _whole(amount)
    if parse_quantity(amount) != count:
        draft.lose(f"resources {name}", f"Kubernetes gives whole devices only: {shown(str(amount))} becomes {count}")
    if count != ranks:
        draft.set("accelerator.count", count)


def _whole(value: Any) -> int:
    """Return the whole devices that hold an amount."""
    amount = parse_quantity(value)
    return math.ceil(amount) if amount is not None else 0


def _written(value: Any) -> Any:
    """Return a quantity as a VLLMServer has it: a number with a fraction becomes a text."""
    return f"{value:g}" if isinstance(value, float) else value
