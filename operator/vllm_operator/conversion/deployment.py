"""Convert plain Deployments and StatefulSets that run vLLM, with their Services and autoscalers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vllm_operator.api.names import GROUP, KIND
from vllm_operator.conversion.pod import convert_pod
from vllm_operator.conversion.result import Conversion, Draft, Unconverted, items, mapping, maps, server_object, whole
from vllm_operator.desired.autoscaler import (
    ADAPTER_KV_CACHE_METRIC,
    KV_CACHE_METRIC,
    REQUESTS_METRIC,
    RUNNING_METRIC,
)
from vllm_operator.kube.quantity import parse_quantity
from vllm_operator.vllm.image_families import repository

STARTS_VLLM = re.compile(r"\bvllm\s+serve\b|\bvllm\.entrypoints\.")
"""A command line that starts a server of vLLM."""

WORKLOADS = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "Pod"})


def vllm_container(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the container that runs vLLM: by its command, or by the name of its image; None when none does."""
    containers = maps(pod.get("containers"))
    by_command = (one for one in containers if STARTS_VLLM.search(_words(one)))
    by_image = (one for one in containers if "vllm" in repository(str(one.get("image") or "")).rpartition("/")[2])
    return next(by_command, None) or next(by_image, None)


def _words(container: Mapping[str, Any]) -> str:
    return " ".join(str(word) for word in (*items(container.get("command")), *items(container.get("args"))))


def pod_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec of the pods of a workload."""
    if body.get("kind") == "Pod":
        return mapping(body.get("spec"))
    return mapping(mapping(mapping(body.get("spec")).get("template")).get("spec"))


def convert_workload(body: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Conversion | None:
    """Return the conversion of a workload; None when it does not run vLLM.

    Args:
        body: the workload.
        others: the other objects of the file, such as its Service.
    """
    pod = pod_of(body)
    container = vllm_container(pod)
    metadata = mapping(body.get("metadata"))
    name, source = str(metadata.get("name") or "vllm"), f"{body.get('kind')} {metadata.get('name')}"
    if container is None:
        return None
    if owner := _server_of(metadata):
        return Conversion(source, None, (Unconverted("owner", f"it belongs to the VLLMServer {owner} already"),))
    draft = Draft()
    convert_pod(pod, container, draft)
    if any(item.field == "container" for item in draft.lost):
        return Conversion(source, None, tuple(item for item in draft.lost if item.field == "container"))
    _convert_replicas(body, draft)
    _convert_metadata(body, draft)
    labels = mapping(mapping(mapping(mapping(body.get("spec")).get("template")).get("metadata")).get("labels"))
    for other in others:
        _convert_neighbour(other, name, labels, draft)
    return Conversion(source, server_object(name, metadata.get("namespace"), draft), tuple(draft.lost))


def _convert_replicas(body: Mapping[str, Any], draft: Draft) -> None:
    spec = mapping(body.get("spec"))
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas != 1:
        draft.set("replicas", replicas)
    strategy = mapping(spec.get("strategy"))
    rolling = mapping(strategy.get("rollingUpdate"))
    draft.set("rollout.maxSurge", rolling.get("maxSurge"))
    draft.set("rollout.maxUnavailable", rolling.get("maxUnavailable"))
    if rolling.get("maxUnavailable") == 0:
        draft.spec.setdefault("rollout", {})["maxUnavailable"] = 0
    if strategy.get("type") == "Recreate":
        draft.lose("spec.strategy", "replicas are replaced one at a time, not all at once")
    if body.get("kind") == "StatefulSet":
        draft.lose("kind", "a StatefulSet gives its pods names and claims; the pods of a VLLMServer have neither")
        if spec.get("volumeClaimTemplates"):
            draft.lose("spec.volumeClaimTemplates", "use spec.cache with size and perReplica: true")


def _convert_metadata(body: Mapping[str, Any], draft: Draft) -> None:
    metadata = mapping(body.get("metadata"))
    draft.set("metadata.annotations", _own_annotations(metadata))
    pod = mapping(mapping(mapping(mapping(body.get("spec")).get("template")).get("metadata")).get("annotations"))
    extra = {
        key: value
        for key, value in pod.items()
        if not key.startswith(("prometheus.io/", "kubectl.kubernetes.io/", f"{GROUP}/"))
    }
    draft.set("podTemplate.metadata", {"annotations": extra} if extra else None)


def _own_annotations(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations that a person wrote, without those of Kubernetes and of the operator."""
    return {
        key: value
        for key, value in mapping(metadata.get("annotations")).items()
        if "kubernetes.io" not in key and not key.startswith(f"{GROUP}/") and isinstance(value, str)
    }


def _server_of(metadata: Mapping[str, Any]) -> str:
    """Return the name of the VLLMServer that an object belongs to; empty if there is none."""
    owners = (one for one in maps(metadata.get("ownerReferences")) if one.get("kind") == KIND)
    return next((str(one.get("name")) for one in owners), "")


def _convert_neighbour(other: Mapping[str, Any], name: str, labels: Mapping[str, Any], draft: Draft) -> None:
    spec = mapping(other.get("spec"))
    match other.get("kind"):
        case "Service":
            selector = mapping(spec.get("selector"))
            if selector and selector.items() <= labels.items():
                _convert_service(other, draft)
        case "HorizontalPodAutoscaler":
            if mapping(spec.get("scaleTargetRef")).get("name") == name:
                _convert_autoscaler(spec, draft)
        case "PodDisruptionBudget":
            selector = mapping(mapping(spec.get("selector")).get("matchLabels"))
            if selector and selector.items() <= labels.items():
                draft.set("disruption.maxUnavailable", spec.get("maxUnavailable"))
                if spec.get("minAvailable") is not None:
                    draft.lose("PodDisruptionBudget minAvailable", "write it as spec.disruption.maxUnavailable")


def _convert_service(body: Mapping[str, Any], draft: Draft) -> None:
    spec, metadata = mapping(body.get("spec")), mapping(body.get("metadata"))
    kind = str(spec.get("type"))
    if kind in {"NodePort", "LoadBalancer"}:
        draft.set("service.type", kind)
    ports = maps(spec.get("ports"))
    if ports:
        port = ports[0].get("port")
        draft.set("service.port", port if port != 80 else None)
        draft.set("service.nodePort", ports[0].get("nodePort"))
    for port_of in ports[1:]:
        draft.lose(
            "Service ports", f"the Service has one port; {port_of.get('name') or port_of.get('port')} is left out"
        )
    draft.set("service.annotations", _service_annotations(metadata))
    if spec.get("clusterIP") == "None":
        draft.lose("Service clusterIP", "the Service is not headless")
    draft.set(
        "service.spec.sessionAffinity", spec.get("sessionAffinity") if spec.get("sessionAffinity") != "None" else None
    )
    draft.lose("Service", f"it is named as the VLLMServer, and no longer {metadata.get('name')}: clients must follow")


def _service_annotations(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the annotations of a Service, which may be for a cloud's load balancer, without kubectl's."""
    return {
        key: value
        for key, value in mapping(metadata.get("annotations")).items()
        if not key.startswith(("kubectl.kubernetes.io/", f"{GROUP}/"))
    }


CACHE_METRICS = frozenset({KV_CACHE_METRIC, ADAPTER_KV_CACHE_METRIC})
"""Names of the metric of the KV cache in the operator's metrics API and in prometheus-adapter."""


def _convert_autoscaler(spec: Mapping[str, Any], draft: Draft) -> None:
    scaling: dict[str, Any] = {
        "minReplicas": max(1, whole(spec.get("minReplicas"), 1)),
        "maxReplicas": whole(spec.get("maxReplicas"), 1),
    }
    for metric in maps(spec.get("metrics")):
        pods = mapping(metric.get("pods"))
        name = str(mapping(pods.get("metric")).get("name"))
        amount = parse_quantity(mapping(pods.get("target")).get("averageValue"))
        if name.replace(":", "_") in {RUNNING_METRIC, REQUESTS_METRIC} and amount:
            scaling["targetRunningRequests"] = max(1, int(amount))
        elif name.replace(":", "_") in CACHE_METRICS and amount and 0 < amount <= 1:
            scaling["targetKVCacheUsage"] = float(amount)
        else:
            shown_name = name if pods else str(metric.get("type"))
            draft.lose(
                "HorizontalPodAutoscaler",
                f"the metric {shown_name} is left out: the operator scales on running requests",
            )
    if spec.get("behavior"):
        scaling["behavior"] = spec["behavior"]
    draft.set("autoscaling", scaling)
