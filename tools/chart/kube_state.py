"""The configuration with which kube-state-metrics exports VLLMServers: names as those of `--server-metrics`."""

from __future__ import annotations

from typing import Any, get_args

from vllm_operator.api.names import GROUP, KIND, PLURAL, VERSION
from vllm_operator.api.status import Phase, ReplicaPhase

Object = dict[str, Any]

PREFIX = "kube_vllmserver"
CONDITION_STATUSES = ["True", "False", "Unknown"]
COUNTS = {
    "replicas": "Pods that the Deployment has.",
    "readyReplicas": "Pods whose Ready condition is True.",
    "healthyReplicas": "Pods that serve: they are ready, and their engine answers and lists the model.",
    "updatedReplicas": "Pods of the newest revision.",
}
"""Field of the status -> meaning."""

RULES = [{"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["list", "watch"]}]
"""Rights that kube-state-metrics needs for it."""


def configuration() -> Object:
    """Return the CustomResourceStateMetrics."""
    return {
        "kind": "CustomResourceStateMetrics",
        "spec": {
            "resources": [
                {
                    "groupVersionKind": {"group": GROUP, "version": VERSION, "kind": KIND},
                    "metricNamePrefix": PREFIX,
                    "labelsFromPath": {"namespace": ["metadata", "namespace"], "vllmserver": ["metadata", "name"]},
                    "metrics": [*_states(), *_numbers()],
                }
            ]
        },
    }


def _states() -> list[Object]:
    info = {"type": "Info", "info": {"path": ["status"], "labelsFromPath": {"version": ["version"]}}}
    phase = _state_set(["status", "phase"], "phase", list(get_args(Phase)))
    replica = _state_set(
        ["status", "replicaStatuses"], "phase", list(get_args(ReplicaPhase)), ["phase"], {"replica": ["pod"]}
    )
    labels = {"condition": ["type"], "reason": ["reason"]}
    condition = _state_set(["status", "conditions"], "status", CONDITION_STATUSES, ["status"], labels)
    return [
        {"name": "info", "help": "Version of vLLM, always 1.", "each": info},
        {"name": "status_phase", "help": "1 for the phase of the server, else 0.", "each": phase},
        {"name": "status_replica_phase", "help": "1 for the phase of each replica, else 0.", "each": replica},
        {"name": "status_condition", "help": "1 for the status of each condition, else 0.", "each": condition},
    ]


def _numbers() -> list[Object]:
    since = {
        "type": "Gauge",
        "gauge": {
            "path": ["status", "conditions"],
            "labelsFromPath": {"condition": ["type"]},
            "valueFrom": ["lastTransitionTime"],
        },
    }
    target = _gauge(["spec", "autoscaling", "targetRunningRequests"])
    return [
        {
            "name": "status_condition_last_transition_time",
            "help": "When the status of a condition changed, Unix time.",
            "each": since,
        },
        *({"name": _metric(field), "help": text, "each": _gauge(["status", field])} for field, text in COUNTS.items()),
        {
            "name": "spec_target_running_requests",
            "help": "Running requests per replica that the autoscaler aims at.",
            "each": target,
        },
    ]


def _metric(field: str) -> str:
    name = field.removesuffix("Replicas")
    return f"status_{name}_replicas" if name != field else f"status_{field}"


def _gauge(path: list[str]) -> Object:
    return {"type": "Gauge", "gauge": {"path": path}}


def _state_set(
    path: list[str],
    label: str,
    values: list[str],
    value_from: list[str] | None = None,
    labels: dict[str, list[str]] | None = None,
) -> Object:
    found: Object = {"path": path, "labelName": label, "list": values}
    if value_from:
        found["valueFrom"] = value_from
    if labels:
        found["labelsFromPath"] = labels
    return {"type": "StateSet", "stateSet": found}
