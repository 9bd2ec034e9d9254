"""Find the field of the spec that a refused field of a child comes from."""

from __future__ import annotations

import re
from functools import lru_cache

from vllm_operator.api.names import CONTAINER
from vllm_operator.api.service import ServiceSpec

SPEC_FIELD_BY_KIND = {
    "PersistentVolumeClaim": "spec.cache",
    "Service": "spec.service",
    "Deployment": "spec",
    "HorizontalPodAutoscaler": "spec.autoscaling",
    "ScaledObject": "spec.autoscaling",
    "PodDisruptionBudget": "spec.disruption",
    "PodMonitor": "spec.monitoring",
    "PrometheusRule": "spec.monitoring.alerts",
}
"""Kind of a child -> the field of the spec that asks for it."""

_POD = "spec.template.spec"
_VLLM = f"{_POD}.containers[0]"
_PLACE_BY_NAME = {
    f'{_POD}.containers[name="{CONTAINER}"]': _VLLM,
    f'{_POD}.volumes[name="model-cache"]': f"{_POD}.volumes[0]",
    f'{_POD}.volumes[name="shm"]': f"{_POD}.volumes[1]",
}
"""Item of a list by its name, as a refused apply patch writes it -> the same item by its place."""

SPEC_FIELD_BY_PATH: dict[str, dict[str, str]] = {
    "PersistentVolumeClaim": {
        "spec.resources.requests": "spec.cache.size",
        "spec.storageClassName": "spec.cache.storageClassName",
        "spec.accessModes": "spec.cache.accessModes",
    },
    "Service": {
        "metadata.annotations": "spec.service.annotations",
        "metadata.labels": "spec.service.labels",
        "spec.ports[0].nodePort": "spec.service.nodePort",
        "spec.ports": "spec.service.port",
        "spec.type": "spec.service.type",
        **{f"spec.{one.alias}": f"spec.service.spec.{one.alias}" for one in ServiceSpec.model_fields.values()},
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
        f"{_POD}.volumes[0]": "spec.cache",
        f"{_POD}.volumes[1]": "spec.sharedMemory",
        f"{_VLLM}.image": "spec.image",
        f"{_VLLM}.command": "spec.engine.command",
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
"""Kind of a child -> the beginning of a path in it -> the field of the spec that sets it; the first one that fits."""

POD_TEMPLATE = "spec.podTemplate"
LARGE_FIELDS = f"spec.engine.env, spec.engine.extraArgs or {POD_TEMPLATE}"
SPEC_FIELD_BY_MESSAGE = {
    "convert unstructured object": POD_TEMPLATE,
    "request is too large": LARGE_FIELDS,
    "message larger than max": LARGE_FIELDS,
}
"""Part of a refusal of a Deployment without a path -> the fields that cause it. Only pod templates are untyped."""
DEPLOYED_TEMPLATE = "spec.template"

MAX_MESSAGE_LENGTH = 4096
"""Characters of a refusal that are read. The API server's message quotes keys of the pod template, of up to 1 MiB, and
names the first path at its beginning."""
CACHED_MESSAGES = 256
"""Refusals whose field is kept: a refused child is reported in every reconcile. They hold 1 MiB at most."""

_PATH_START = re.compile(r"(?<![^\s\[.])(?:spec|metadata)\b")


def spec_field_for(kind: str, message: str) -> str:
    """Return the field of the spec that the first path in the API server's refusal of a child comes from.

    A field of the pod may come from the pod template too, so both are named.
    """
    return _spec_field_for(kind, message[:MAX_MESSAGE_LENGTH])


@lru_cache(maxsize=CACHED_MESSAGES)
def _spec_field_for(kind: str, message: str) -> str:
    path = _by_place(_first_path(message))
    field = next((field for start, field in SPEC_FIELD_BY_PATH.get(kind, {}).items() if _is_below(path, start)), "")
    if kind != "Deployment":
        return field or SPEC_FIELD_BY_KIND[kind]
    if cause := next((cause for part, cause in SPEC_FIELD_BY_MESSAGE.items() if part in message), ""):
        return cause
    if not _is_below(path, DEPLOYED_TEMPLATE):
        return field or SPEC_FIELD_BY_KIND[kind]
    return f"{field} or {POD_TEMPLATE}" if field else POD_TEMPLATE


def _first_path(message: str) -> str:
    """Return the first path in a message, up to its colon; empty without one. Each character is read once."""
    for word in message.split():
        *parts, _ = word.split(":")
        for number, part in enumerate(parts):
            before = ":" if number else " "
            if found := _PATH_START.search(before + part, len(before)):
                return part[found.start() - len(before) :]
    return ""


def _by_place(path: str) -> str:
    """Return a path with the known names of list items replaced by their places."""
    for name, place in _PLACE_BY_NAME.items():
        if path.startswith(name):
            return place + path.removeprefix(name)
    return path


def _is_below(path: str, start: str) -> bool:
    return path == start or path.startswith((f"{start}.", f"{start}["))
