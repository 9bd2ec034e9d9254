"""Answers of an API server that holds three servers: one serves, one crashed, one is refused."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from tests.golden.documents import MANIFESTS
from tests.helpers.paths import DATA
from tests.helpers.pods import crashed_pod, pod, ready_pod, termination
from vllm_operator.api.names import selector_labels
from vllm_operator.cli.gathered import REPLICA_SET, REVISION
from vllm_operator.kube.kinds import CHILD_KINDS, DEPLOYMENT, EVENT, MONITORING_KINDS, POD, SERVER
from vllm_operator.offline.report import judge_file

Answers = dict[str, tuple[int, Any]]

LOG = (DATA / "logs" / "context-too-long.log").read_bytes()
METRICS = (DATA / "vllm-0.32-metrics.txt").read_bytes()
HASH = "5f9c6d7b8"
CAUSE = "exit code 1: a context of 100000 tokens is more than the model allows: set engine.maxModelLen to 2048 or less"
REFUSAL = "spec.engine.extraArgs[0]: vLLM 0.32.0 has no --max-model-length: did you mean --max-model-len?"


def conditions(**statuses: str) -> list[dict[str, str]]:
    """Return conditions with these statuses."""
    return [
        {"type": kind, "status": status, "reason": f"{kind}Reason", "message": f"{kind} says why"}
        for kind, status in statuses.items()
    ]


def server(name: str, phase: str, message: str, entries: list[dict[str, str]], **status: Any) -> dict[str, Any]:
    """Return a VLLMServer with its status."""
    body = yaml.safe_load((MANIFESTS / "smallest.yaml").read_text())
    metadata = {
        "name": name,
        "namespace": "llm",
        "generation": 1,
        "uid": "u",
        "creationTimestamp": "2026-03-02T08:00:00Z",
    }
    known = {"observedGeneration": 1, "phase": phase, "message": message, "conditions": entries}
    return {**body, "metadata": metadata, "status": {**known, **status}}


SERVERS = {
    "mistral": server(
        "mistral",
        "Serving",
        "1/1 replicas serve",
        conditions(Ready="True", Accepted="True", Stalled="False"),
        ready="1/1",
        healthyReplicas=1,
        version="0.32.0",
        replicaStatuses=[{"pod": "mistral-5f9c6d7b8-aaaaa", "phase": "Serving"}],
    ),
    "crashed": server(
        "crashed",
        "Failed",
        f"0/1 replicas serve; crashed-5f9c6d7b8-bbbbb: {CAUSE}",
        conditions(Ready="False", Accepted="True", Stalled="True"),
        ready="0/1",
        healthyReplicas=0,
        replicaStatuses=[
            {
                "pod": "crashed-5f9c6d7b8-bbbbb",
                "phase": "CrashLooping",
                "reason": "ContextTooLong",
                "message": CAUSE,
                "since": "2026-03-02T08:20:00Z",
            }
        ],
    ),
    "refused": server(
        "refused", "Invalid", REFUSAL, conditions(Ready="False", Accepted="False", Stalled="True"), ready="0/1"
    ),
}


def _named(body: dict[str, Any], name: str) -> dict[str, Any]:
    result = copy.deepcopy(body)
    result["metadata"] |= {"namespace": "llm", "labels": {**selector_labels(name), "pod-template-hash": HASH}}
    return result


PODS = {
    "mistral": [_named(ready_pod("mistral-5f9c6d7b8-aaaaa"), "mistral")],
    "crashed": [_named(crashed_pod(termination(1), "crashed-5f9c6d7b8-bbbbb"), "crashed")],
    "refused": [],
}
OBJECTS = judge_file((MANIFESTS / "smallest.yaml").read_text(), "llm", MONITORING_KINDS, "free")[0].objects


def answers() -> Answers:
    """Return the answers of the API server."""
    result: Answers = {
        f"GET {SERVER.path('llm')}": (200, {"items": list(copy.deepcopy(SERVERS).values())}),
        f"GET {SERVER.path()}": (200, {"items": list(copy.deepcopy(SERVERS).values())}),
        f"GET {DEPLOYMENT.path()}": (200, {"items": []}),
        f"GET {EVENT.path('llm')}": (200, {"items": [event("crashed-5f9c6d7b8-bbbbb")]}),
        "GET /version": (200, {"gitVersion": "v1.37.2"}),
        "GET /api/v1/nodes": (200, {"items": []}),
        "GET /apis/networking.k8s.io/v1/namespaces/llm/ingresses": (200, {"items": []}),
        "GET /apis": (200, {"groups": []}),
    }
    for name, body in copy.deepcopy(SERVERS).items():
        result[f"GET {SERVER.path('llm', name)}"] = (200, body)
        result[f"PATCH {SERVER.path('llm', name)}"] = (200, body)
        labels = ",".join(f"{key}={value}" for key, value in selector_labels(name).items())
        result[f"GET {POD.path('llm')}?labelSelector={labels}"] = (200, {"items": copy.deepcopy(PODS[name])})
        result[f"GET {REPLICA_SET.path('llm')}?labelSelector={labels}"] = (200, {"items": [replica_set(name)]})
        for child in OBJECTS if name != "refused" else ():
            own = {**copy.deepcopy(child), "metadata": {**child["metadata"], "name": name}}
            path = CHILD_KINDS[child["kind"]].path("llm", name)
            result[f"GET {path}"] = result[f"PATCH {path}"] = (200, own)
    base = f"GET {POD.path('llm')}"
    result[f"{base}/crashed-5f9c6d7b8-bbbbb/log"] = (200, LOG)
    result[f"{base}/mistral-5f9c6d7b8-aaaaa/log"] = (200, b"INFO ready\n")
    result[f"{base}/mistral-5f9c6d7b8-aaaaa:8000/proxy/metrics"] = (200, METRICS)
    return result


def replica_set(name: str) -> dict[str, Any]:
    """Return the ReplicaSet of a server's only revision."""
    template = {"spec": {"containers": pod()["spec"]["containers"]}}
    metadata = {"name": f"{name}-{HASH}", "annotations": {REVISION: "1"}, "labels": {"pod-template-hash": HASH}}
    return {"metadata": metadata, "spec": {"replicas": 1, "template": template}, "status": {"readyReplicas": 1}}


def event(about: str) -> dict[str, Any]:
    """Return a warning about a pod."""
    return {
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting failed container vllm in pod",
        "involvedObject": {"kind": "Pod", "name": about},
        "lastTimestamp": "2026-03-02T08:21:00Z",
    }
