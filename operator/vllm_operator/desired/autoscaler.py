"""The HorizontalPodAutoscaler or the ScaledObject on the load of vLLM."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.names import child_name
from vllm_operator.api.replica_bounds import may_sleep
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.model_dump import dump_model
from vllm_operator.kube.kinds import SCALED_OBJECT
from vllm_operator.vllm.metric_series import server_series

REQUESTS_METRIC = "vllm_num_requests"
"""Metric of a pod in the operator's metrics API: its running and waiting requests."""

KV_CACHE_METRIC = "vllm_kv_cache_usage"
"""Metric of a pod in the operator's metrics API: the used fraction of its KV cache (1 is full)."""

RUNNING_METRIC = "vllm_num_requests_running"
"""Metric of a pod in prometheus-adapter; vLLM exports it as vllm:num_requests_running."""

ADAPTER_KV_CACHE_METRIC = "vllm_kv_cache_usage_perc"
"""Metric of a pod in prometheus-adapter, by its rule: the used fraction of its KV cache."""

DEFAULT_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 60},
            {"type": "Percent", "value": 100, "periodSeconds": 60},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 600,
        "selectPolicy": "Min",
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}
"""The operator's own behavior. Requests that run or wait are a load that a new replica does not change until it serves,
and the autoscaler counts a replica that loads as one without load: so a step of load may be taken at once. A minute's
period keeps a short burst from ordering dozens of replicas (`tools/bench/autoscale_policies.py`). Replicas are
removed one at a time, after ten minutes of low load, since a model takes minutes to load."""

PAUSED_BEHAVIOR: dict[str, Any] = {
    direction: {**rules, "selectPolicy": "Disabled"} for direction, rules in DEFAULT_BEHAVIOR.items()
}
"""The behavior of an autoscaler that changes nothing."""

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


@dataclass(frozen=True)
class ScaledObjectPlan:
    """A ScaledObject (keda.sh/v1alpha1); None leaves a field out."""

    name: str
    target: str
    annotations: dict[str, str]
    min_replicas: int
    max_replicas: int
    polling_interval: int
    cooldown: int
    behavior: dict[str, Any]
    fallback: dict[str, Any] | None
    triggers: list[dict[str, Any]]


def autoscaler_plan(server: VLLMServer) -> AutoscalerPlan | None:
    """Return the HorizontalPodAutoscaler; None when the spec asks for none, or something else scales."""
    scaling = server.spec.autoscaling
    if scaling is None or scaling.source not in {"builtin", "prometheus-adapter"}:
        return None
    return AutoscalerPlan(
        name=child_name(server.name),
        target=child_name(server.name),
        # The operator itself scales to zero and from it, on every version of Kubernetes.
        min_replicas=max(server.bounds.min_replicas, 1),
        max_replicas=server.bounds.max_replicas,
        metrics=_metrics(scaling),
        behavior=scaling_behavior(scaling),
    )


def scaled_object_plan(server: VLLMServer, installed: Set[str]) -> ScaledObjectPlan | None:
    """Return the ScaledObject; None when the spec asks for none, or KEDA is not installed.

    Args:
        server: an accepted server.
        installed: optional kinds that the cluster has.
    """
    scaling = server.spec.autoscaling
    if scaling is None or scaling.source != "keda" or SCALED_OBJECT not in installed:
        return None
    keda = scaling.keda
    fallback = keda.fallback if keda else None
    return ScaledObjectPlan(
        name=child_name(server.name),
        target=child_name(server.name),
        annotations={"autoscaling.keda.sh/paused": "true"} if scaling.paused else {},
        min_replicas=server.bounds.min_replicas,
        max_replicas=server.bounds.max_replicas,
        polling_interval=keda.polling_interval_seconds if keda else 15,
        cooldown=scaling.idle_seconds,
        behavior=DEFAULT_BEHAVIOR if scaling.behavior is None else scaling_behavior(scaling),
        fallback=dump_model(fallback) if fallback else None,
        triggers=_triggers(server, scaling),
    )


def scaling_behavior(scaling: Autoscaling) -> dict[str, Any]:
    """Return the behavior of the spec, completed with Kubernetes' defaults; without one, the operator's own."""
    if scaling.paused:
        return PAUSED_BEHAVIOR
    if scaling.behavior is None:
        return DEFAULT_BEHAVIOR
    given = dump_model(scaling.behavior)
    return {
        direction: {**rules, **given.get(direction, {})} for direction, rules in KUBERNETES_DEFAULT_BEHAVIOR.items()
    }


def _metrics(scaling: Autoscaling) -> list[dict[str, Any]]:
    is_builtin = scaling.source == "builtin"
    metrics = [_pods_metric(REQUESTS_METRIC if is_builtin else RUNNING_METRIC, str(scaling.target_running_requests))]
    if scaling.target_kv_cache_usage is not None:
        name = KV_CACHE_METRIC if is_builtin else ADAPTER_KV_CACHE_METRIC
        # The smallest fraction of a quantity is a thousandth.
        metrics.append(_pods_metric(name, f"{round(scaling.target_kv_cache_usage * 1000)}m"))
    return metrics


def _pods_metric(name: str, average: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
    }


def _triggers(server: VLLMServer, scaling: Autoscaling) -> list[dict[str, Any]]:
    """Return the triggers of a ScaledObject: those on Prometheus, then those of the spec."""
    keda = scaling.keda
    if keda is None:
        return []
    found: list[dict[str, Any]] = []
    if keda.server_address:
        series = server_series(server)
        names = (series.names.running, series.names.waiting)
        # max: a pod that two jobs scrape counts once.
        requests = " + ".join(f"sum(max by (pod, engine) ({series(name)}))" for name in names)
        found.append(_prometheus(scaling, requests, str(scaling.target_running_requests), "AverageValue"))
        if scaling.target_kv_cache_usage is not None:
            usage = f"avg(max by (pod) ({series(series.names.kv_cache)}))"
            found.append(_prometheus(scaling, usage, f"{scaling.target_kv_cache_usage:g}", "Value"))
    return found + [dict(trigger) for trigger in keda.triggers]


def _prometheus(scaling: Autoscaling, query: str, threshold: str, metric_type: str) -> dict[str, Any]:
    keda = scaling.keda
    assert keda is not None
    assert keda.server_address is not None
    authentication = {"authenticationRef": {"name": keda.authentication}} if keda.authentication else {}
    return {
        "type": "prometheus",
        "metricType": metric_type,
        "metadata": {
            "serverAddress": keda.server_address,
            # A server without replicas has no series, and no load.
            "query": f"({query}) or vector(0)" if may_sleep(scaling) else query,
            "threshold": threshold,
            # KEDA would take a Prometheus that scrapes nothing for a server without load.
            "ignoreNullValues": "false",
        },
        **authentication,
    }
