"""Which field of the spec a refused field of a child comes from."""

from __future__ import annotations

import re

WHOLE = {
    "PersistentVolumeClaim": "spec.cache",
    "Service": "spec.service",
    "Deployment": "spec",
    "HorizontalPodAutoscaler": "spec.autoscaling",
    "PodDisruptionBudget": "spec.disruption",
    "PodMonitor": "spec.monitoring",
    "PrometheusRule": "spec.monitoring.alerts",
}
"""Field of the spec that a child comes from as a whole."""

_POD = "spec.template.spec"
_VLLM = f"{_POD}.containers[0]"
ORIGINS: dict[str, dict[str, str]] = {
    "PersistentVolumeClaim": {
        "spec.resources.requests": "spec.cache.size",
        "spec.storageClassName": "spec.cache.storageClassName",
        "spec.accessModes": "spec.cache.accessModes",
    },
    "Service": {
        "metadata.annotations": "spec.service.annotations",
        "metadata.labels": "spec.service.labels",
        "spec.ports": "spec.service.port",
    },
    "Deployment": {
        "spec.replicas": "spec.replicas",
        "spec.strategy.rollingUpdate": "spec.rollout",
        "spec.progressDeadlineSeconds": "spec.health.startupTimeoutSeconds",
        f"{_POD}.terminationGracePeriodSeconds": "spec.rollout.drainTimeoutSeconds",
        f"{_POD}.imagePullSecrets": "spec.imagePullSecrets",
        f"{_POD}.nodeSelector": "spec.scheduling.nodeSelector",
        f"{_POD}.tolerations": "spec.scheduling.tolerations",
        f"{_POD}.affinity": "spec.scheduling.affinity",
        f"{_POD}.topologySpreadConstraints": "spec.scheduling.topologySpreadConstraints",
        f"{_POD}.priorityClassName": "spec.scheduling.priorityClassName",
        f"{_POD}.runtimeClassName": "spec.scheduling.runtimeClassName",
        f"{_POD}.schedulerName": "spec.scheduling.schedulerName",
        f"{_POD}.securityContext": "spec.security.podSecurityContext",
        f"{_VLLM}.image": "spec.image",
        f"{_VLLM}.env": "spec.engine.env",
        f"{_VLLM}.resources": "spec.resources",
        f"{_VLLM}.securityContext": "spec.security.containerSecurityContext",
    },
    "HorizontalPodAutoscaler": {
        "spec.behavior": "spec.autoscaling.behavior",
        "spec.minReplicas": "spec.autoscaling.minReplicas",
        "spec.maxReplicas": "spec.autoscaling.maxReplicas",
    },
    "PodDisruptionBudget": {"spec.maxUnavailable": "spec.disruption.maxUnavailable"},
}
"""Kind -> the beginning of a path in the child -> the field of the spec that decides about it."""

OVERLAY = "spec.podTemplate"
LARGE = f"spec.engine.env, spec.engine.extraArgs or {OVERLAY}"
PATHLESS = {
    "convert unstructured object": OVERLAY,
    "request is too large": LARGE,
    "message larger than max": LARGE,
}
"""Refusals of a Deployment without a path, and what brings them about: only a pod template has untyped values."""
TEMPLATE = "spec.template"

_PATH = re.compile(r"(?:^|[\s\[.])((?:spec|metadata)\b[^:\s]*):")


def origin(kind: str, message: str) -> str:
    """The field of the spec that the first path in the API server's refusal of a child of `kind` comes from.

    What stands in the pod may be the pod template's as well: both are named.
    """
    found = _PATH.search(message)
    path = found[1] if found else ""
    field = next((field for start, field in ORIGINS.get(kind, {}).items() if _is_below(path, start)), "")
    if kind == "Deployment" and (cause := next((field for words, field in PATHLESS.items() if words in message), "")):
        return cause
    if kind != "Deployment" or not _is_below(path, TEMPLATE):
        return field or WHOLE[kind]
    return f"{field} or {OVERLAY}" if field else OVERLAY


def _is_below(path: str, start: str) -> bool:
    return path == start or path.startswith((f"{start}.", f"{start}["))
