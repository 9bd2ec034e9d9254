"""The HorizontalPodAutoscaler on the load of vLLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import child_name
from vllm_operator.api.operations import Autoscaling
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.model_dump import dump_model

RUNNING_METRIC = "vllm_num_requests_running"
"""Metric of a pod in the metrics API; vLLM exports it as vllm:num_requests_running."""

KV_CACHE_METRIC = "vllm_kv_cache_usage_perc"
"""Metric of a pod: the used fraction of its KV cache (1 is full)."""

DEFAULT_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 30,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 2, "periodSeconds": 180},
            {"type": "Percent", "value": 50, "periodSeconds": 180},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 600,
        "selectPolicy": "Min",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}
"""The operator's own behavior. A replica takes minutes to load and shows no load until then, so few are added within
that time: otherwise the autoscaler overshoots. Replicas are removed one at a time, after ten minutes of low load."""

KUBERNETES_DEFAULT_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    },
    "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
}
"""Defaults of Kubernetes for parts of a behavior that are unset (`pkg/apis/autoscaling/v2/defaults.go`). The API server
adds them only sometimes when an object is applied again, so the manifest always holds them."""


@dataclass(frozen=True)
class AutoscalerPlan:
    """A HorizontalPodAutoscaler (autoscaling/v2)."""

    name: str
    target: str
    min_replicas: int
    max_replicas: int
    metrics: list[dict[str, Any]]
    behavior: dict[str, Any]


def autoscaler_plan(server: VLLMServer) -> AutoscalerPlan | None:
    """Return the autoscaler; None when the spec asks for none."""
    scaling = server.spec.autoscaling
    if scaling is None:
        return None
    return AutoscalerPlan(
        name=child_name(server.name),
        target=child_name(server.name),
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        metrics=_metrics(scaling),
        behavior=_behavior(scaling),
    )


def _behavior(scaling: Autoscaling) -> dict[str, Any]:
    """Return the behavior of the spec, completed with Kubernetes' defaults; without one, the operator's own."""
    if scaling.behavior is None:
        return DEFAULT_BEHAVIOR
    given = dump_model(scaling.behavior)
    return {
        direction: {**rules, **given.get(direction, {})} for direction, rules in KUBERNETES_DEFAULT_BEHAVIOR.items()
    }


def _metrics(scaling: Autoscaling) -> list[dict[str, Any]]:
    metrics = [_pods_metric(RUNNING_METRIC, str(scaling.target_running_requests))]
    if scaling.target_kv_cache_usage is not None:
        # The smallest fraction of a quantity is a thousandth.
        metrics.append(_pods_metric(KV_CACHE_METRIC, f"{round(scaling.target_kv_cache_usage * 1000)}m"))
    return metrics


def _pods_metric(name: str, average: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
    }
