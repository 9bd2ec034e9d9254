"""Recognize what a file holds, and convert each part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vllm_operator.conversion.deployment import WORKLOADS, convert_workload
from vllm_operator.conversion.kserve import convert_inference_service
from vllm_operator.conversion.kubeai import convert_model_resource
from vllm_operator.conversion.production_stack import convert_values
from vllm_operator.conversion.result import Conversion, mapping, maps

CUSTOM_RESOURCES: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Conversion]] = {
    ("kubeai.org", "Model"): convert_model_resource,
    ("serving.kserve.io", "LLMInferenceService"): convert_inference_service,
}
"""API group and kind -> conversion."""

KNOWN = (
    "values of the vLLM production stack (servingEngineSpec), Models of KubeAI, LLMInferenceServices of KServe, and "
    "Deployments, StatefulSets and Pods that run vLLM"
)


def convert_documents(bodies: Sequence[Any]) -> list[Conversion]:
    """Return a conversion for each object of a file that runs vLLM; others are left out."""
    objects = [body for body in _flattened(bodies) if isinstance(body, Mapping)]
    found: list[Conversion] = []
    for body in objects:
        found += _convert(body, objects)
    return found


def _flattened(bodies: Sequence[Any]) -> list[Any]:
    result: list[Any] = []
    for body in bodies:
        kind = body.get("kind") if isinstance(body, Mapping) else None
        result += maps(body.get("items")) if isinstance(kind, str) and kind.endswith("List") else [body]
    return result


def _convert(body: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> list[Conversion]:
    group, kind = str(body.get("apiVersion") or "").partition("/")[0], str(body.get("kind") or "")
    if (group, kind) in CUSTOM_RESOURCES:
        return [CUSTOM_RESOURCES[group, kind](body)]
    if kind in WORKLOADS:
        conversion = convert_workload(body, [other for other in objects if other is not body])
        return [conversion] if conversion else []
    if not kind and mapping(body.get("servingEngineSpec")):
        return convert_values(body)
    return []
