"""The deployment of "vLLM in production", written as a VLLMServer, has everything that its manifest has.

The tables hold the guide's values by path. DIFFERENT holds each deliberate difference with its reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from tests.golden import documents
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

MISSING = object()
POD = "Deployment.spec.template"
VLLM = f"{POD}.spec.containers[vllm]"

GUIDE: dict[str, Any] = {
    "Deployment.apiVersion": "apps/v1",
    "Deployment.metadata.name": "vllm-server",
    "Deployment.metadata.labels.app": "vllm",
    "Deployment.spec.replicas": 3,
    "Deployment.spec.selector.matchLabels.app": "vllm",
    f"{POD}.metadata.labels.app": "vllm",
    f"{POD}.metadata.annotations.prometheus\\.io/scrape": "true",
    f"{POD}.metadata.annotations.prometheus\\.io/port": "8000",
    f"{POD}.metadata.annotations.prometheus\\.io/path": "/metrics",
    f"{VLLM}.image": "vllm/vllm-openai:latest",
    f"{VLLM}.ports[http].containerPort": 8000,
    f"{VLLM}.args --model": "mistralai/Mistral-7B-Instruct-v0.3",
    f"{VLLM}.args --tensor-parallel-size": "1",
    f"{VLLM}.args --gpu-memory-utilization": "0.90",
    f"{VLLM}.args --max-model-len": "8192",
    f"{VLLM}.args --enable-prefix-caching": True,
    f"{VLLM}.resources.limits.nvidia\\.com/gpu": 1,
    f"{VLLM}.resources.limits.memory": "32Gi",
    f"{VLLM}.resources.requests.nvidia\\.com/gpu": 1,
    f"{VLLM}.resources.requests.memory": "24Gi",
    f"{VLLM}.readinessProbe.httpGet.path": "/health",
    f"{VLLM}.readinessProbe.httpGet.port": 8000,
    f"{VLLM}.readinessProbe.initialDelaySeconds": 120,
    f"{VLLM}.readinessProbe.periodSeconds": 10,
    f"{VLLM}.readinessProbe.failureThreshold": 3,
    f"{VLLM}.livenessProbe.httpGet.path": "/health",
    f"{VLLM}.livenessProbe.httpGet.port": 8000,
    f"{VLLM}.livenessProbe.initialDelaySeconds": 180,
    f"{VLLM}.livenessProbe.periodSeconds": 30,
    f"{VLLM}.livenessProbe.failureThreshold": 3,
    f"{VLLM}.volumeMounts[model-cache].mountPath": "/root/.cache/huggingface",
    f"{VLLM}.volumeMounts[shm].mountPath": "/dev/shm",
    f"{POD}.spec.volumes[model-cache].persistentVolumeClaim.claimName": "model-cache-pvc",
    f"{POD}.spec.volumes[shm].emptyDir.medium": "Memory",
    f"{POD}.spec.volumes[shm].emptyDir.sizeLimit": "16Gi",
    f"{POD}.spec.nodeSelector.nvidia\\.com/gpu\\.product": "NVIDIA-A100-SXM4-80GB",
    f"{POD}.spec.tolerations[0].key": "nvidia.com/gpu",
    f"{POD}.spec.tolerations[0].operator": "Exists",
    f"{POD}.spec.tolerations[0].effect": "NoSchedule",
    "Service.apiVersion": "v1",
    "Service.metadata.name": "vllm-service",
    "Service.spec.selector.app": "vllm",
    "Service.spec.ports[http].port": 80,
    "Service.spec.ports[http].targetPort": 8000,
    "Service.spec.type": "ClusterIP",
    "HorizontalPodAutoscaler.apiVersion": "autoscaling/v2",
    "HorizontalPodAutoscaler.metadata.name": "vllm-hpa",
    "HorizontalPodAutoscaler.spec.scaleTargetRef.apiVersion": "apps/v1",
    "HorizontalPodAutoscaler.spec.scaleTargetRef.kind": "Deployment",
    "HorizontalPodAutoscaler.spec.scaleTargetRef.name": "vllm-server",
    "HorizontalPodAutoscaler.spec.minReplicas": 2,
    "HorizontalPodAutoscaler.spec.maxReplicas": 10,
    "HorizontalPodAutoscaler.spec.metrics[0].type": "Pods",
    "HorizontalPodAutoscaler.spec.metrics[0].pods.metric.name": "vllm_num_requests_running",
    "HorizontalPodAutoscaler.spec.metrics[0].pods.target.type": "AverageValue",
    "HorizontalPodAutoscaler.spec.metrics[0].pods.target.averageValue": "50",
}
"""Path -> value of the guide's manifest. `[name]` picks an item, `args --flag` reads an argument."""


@dataclass(frozen=True)
class Difference:
    """The value that replaces the guide's, and the reason."""

    ours: Any
    reason: str


LABELS = "the recommended labels take the place of `app`: two servers in a namespace must not select each other's pods"
NAMES = "children carry the name of their server, so that a person finds them"
NO_DELAY = "a startup probe takes the place of the guess: the pod serves as soon as the model is loaded"
NAMED_PORT = "by name, so that the number stands in one place"

DIFFERENT: dict[str, Difference] = {
    "Deployment.metadata.labels.app": Difference(MISSING, LABELS),
    "Deployment.spec.selector.matchLabels.app": Difference(MISSING, LABELS),
    f"{POD}.metadata.labels.app": Difference(MISSING, LABELS),
    "Service.spec.selector.app": Difference(MISSING, LABELS),
    "Deployment.spec.replicas": Difference(MISSING, "the autoscaler owns the number: an apply would undo its work"),
    f"{VLLM}.image": Difference(
        "vllm/vllm-openai:v0.32.0", "never :latest: a restarted pod would run another release than its neighbours"
    ),
    f"{VLLM}.args --gpu-memory-utilization": Difference("0.9", "the same number: YAML drops the last digit"),
    f"{VLLM}.readinessProbe.httpGet.port": Difference("http", NAMED_PORT),
    f"{VLLM}.livenessProbe.httpGet.port": Difference("http", NAMED_PORT),
    "Service.spec.ports[http].targetPort": Difference("http", NAMED_PORT),
    f"{VLLM}.readinessProbe.initialDelaySeconds": Difference(MISSING, NO_DELAY),
    f"{VLLM}.livenessProbe.initialDelaySeconds": Difference(MISSING, NO_DELAY),
    f"{VLLM}.readinessProbe.periodSeconds": Difference(5, "a dead replica leaves the Service in 15 s instead of 30"),
    f"{VLLM}.livenessProbe.periodSeconds": Difference(10, "twelve failures in two minutes, not three in 90 s"),
    f"{VLLM}.livenessProbe.failureThreshold": Difference(
        12, "slow to act: a busy engine must not be restarted, and lose its cache and its requests"
    ),
    f"{VLLM}.volumeMounts[model-cache].mountPath": Difference(
        "/cache", "a non-root user cannot enter /root; HF_HOME and the compile caches point below it"
    ),
    "Service.metadata.name": Difference("vllm-server", NAMES),
    "HorizontalPodAutoscaler.metadata.name": Difference("vllm-server", NAMES),
    "HorizontalPodAutoscaler.spec.metrics[0].pods.metric.name": Difference(
        "vllm_num_requests", "running requests alone are capped by --max-num-seqs, and show no queue"
    ),
}


def children() -> dict[str, Any]:
    """Return the children of the guide's server by kind."""
    desired = desired_state(documents.load("guide"), MONITORING_KINDS)
    assert desired.problems == ()
    return {manifest.kind: manifest.body for manifest in desired.manifests}


def at(place: Any, path: str) -> Any:
    """Return the value at a path; MISSING if a step of it does not exist."""
    path, _, flag = path.partition(" ")
    for step in re.findall(r"(?:\\.|[^.\[\]])+|\[[^\]]+\]", path):
        place = one_step(place, step.replace("\\.", "."))
        if place is MISSING:
            return MISSING
    return argument(place, flag) if flag else place


def one_step(place: Any, step: str) -> Any:
    name = step.strip("[]")
    if isinstance(place, list):
        if name.isdigit():
            return place[int(name)] if int(name) < len(place) else MISSING
        return next((item for item in place if item.get("name") == name), MISSING)
    return place.get(name, MISSING) if isinstance(place, dict) else MISSING


def argument(arguments: list[str], flag: str) -> Any:
    """Return the value of a flag; True for a switch."""
    if flag not in arguments:
        return MISSING
    following = arguments[arguments.index(flag) + 1 :]
    return following[0] if following and not following[0].startswith("--") else True


@pytest.mark.parametrize("path", GUIDE)
def test_field_of_the_guide(path: str) -> None:
    ours = at(children(), path)
    if path not in DIFFERENT:
        assert ours == GUIDE[path]
        return
    assert ours != GUIDE[path], "no difference any more: take it off the table"
    assert ours == DIFFERENT[path].ours


def test_every_difference_is_of_a_field_of_the_guide_and_has_a_reason() -> None:
    assert DIFFERENT.keys() <= GUIDE.keys()
    assert [path for path, difference in DIFFERENT.items() if len(difference.reason) < 20] == []


ADDED = {
    f"{VLLM}.startupProbe.failureThreshold": 360,
    f"{VLLM}.lifecycle.preStop.httpGet.path": "/vllm-operator/drain?timeout=120",
    f"{VLLM}.args --middleware": "vllm_operator_drain.Drain",
    f"{VLLM}.args --shutdown-timeout": "120",
    f"{VLLM}.terminationMessagePolicy": "FallbackToLogsOnError",
    f"{VLLM}.env[HF_HOME].value": "/cache/huggingface",
    f"{VLLM}.env[HOME].value": "/cache",
    f"{VLLM}.env[VLLM_HTTP_TIMEOUT_KEEP_ALIVE].value": "90",
    f"{VLLM}.securityContext.allowPrivilegeEscalation": False,
    f"{POD}.spec.securityContext.runAsNonRoot": True,
    f"{POD}.spec.enableServiceLinks": False,
    f"{POD}.spec.terminationGracePeriodSeconds": 130,
    f"{POD}.spec.topologySpreadConstraints[0].topologyKey": "kubernetes.io/hostname",
    "Deployment.spec.strategy.rollingUpdate.maxSurge": 0,
    "Deployment.spec.strategy.rollingUpdate.maxUnavailable": 1,
    "Deployment.spec.progressDeadlineSeconds": 2700,
    "HorizontalPodAutoscaler.spec.behavior.scaleDown.stabilizationWindowSeconds": 600,
    "PodDisruptionBudget.spec.maxUnavailable": 1,
    "PodMonitor.spec.podMetricsEndpoints[0].port": "http",
    "PrometheusRule.spec.groups[vllmserver.vllm-server].name": "vllmserver.vllm-server",
}
"""Fields that the guide's manifest lacks."""


@pytest.mark.parametrize("path", ADDED)
def test_what_the_guide_lacks_is_there(path: str) -> None:
    assert path not in GUIDE
    assert at(children(), path) == ADDED[path]
