"""Render the manifests of one server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from vllm_operator.api.names import ANNOTATION_HASH, ANNOTATION_SERVER, CONTAINER, recommended_labels
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.children import ChildrenPlan, ServicePlan
from vllm_operator.desired.deployment import DeploymentPlan
from vllm_operator.desired.rendering.root_user import check_root_user
from vllm_operator.desired.rendering.strategic_merge import strategic_merge
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.errors import InvalidSpecError, TemplateError
from vllm_operator.kube.codec import compress_json
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.kube.manifest import Manifest

TEMPLATES = {
    "PersistentVolumeClaim": "kubernetes/persistentvolumeclaim",
    "Service": "kubernetes/service",
    "Deployment": "kubernetes/deployment",
    "HorizontalPodAutoscaler": "kubernetes/horizontalpodautoscaler",
    "ScaledObject": "kubernetes/scaledobject",
    "PodDisruptionBudget": "kubernetes/poddisruptionbudget",
    "PodMonitor": "monitoring/podmonitor",
    "PrometheusRule": "monitoring/prometheusrule",
}
"""Kind -> template, in the order in which children are applied."""


def render_children(server: VLLMServer, plan: ChildrenPlan) -> tuple[Manifest, ...]:
    """Return the manifest of each child in the plan, in the order in which they are applied.

    Raises:
        InvalidSpecError: spec.podTemplate cannot be merged.
        TemplateError: a template is broken.
    """
    return tuple(_render_child(server, plan, kind, part) for kind, part in _plans_by_kind(plan))


def _plans_by_kind(plan: ChildrenPlan) -> Iterator[tuple[str, Any]]:
    parts: dict[str, Any] = {
        "PersistentVolumeClaim": plan.claim,
        "Service": plan.service,
        "Deployment": plan.deployment,
        "HorizontalPodAutoscaler": plan.autoscaler,
        "ScaledObject": plan.scaled_object,
        "PodDisruptionBudget": plan.budget,
        "PodMonitor": plan.pod_monitor,
        "PrometheusRule": plan.rule,
    }
    return ((kind, parts[kind]) for kind in TEMPLATES if parts[kind] is not None)


def _render_child(server: VLLMServer, plan: ChildrenPlan, kind: str, part: Any) -> Manifest:
    body = render_template(TEMPLATES[kind], part)
    if body.get("kind") != kind or body.get("metadata", {}).get("name") != part.name:
        raise TemplateError(f"template {TEMPLATES[kind]} must render the {kind} {part.name}")
    if isinstance(part, ServicePlan):
        body["spec"].update(part.details)
    if isinstance(part, DeploymentPlan) and part.overlay:
        _merge_pod_template(body, part)
    if isinstance(part, DeploymentPlan):
        check_root_user(body["spec"]["template"].get("spec") or {}, server.spec)
    owned = not (kind == "PersistentVolumeClaim" and plan.keeps_claim)
    _add_common_metadata(body, server, owned)
    digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    body["metadata"]["annotations"][ANNOTATION_HASH] = digest
    return Manifest(kind, part.name, digest, compress_json(body))


def _merge_pod_template(body: dict[str, Any], plan: DeploymentPlan) -> None:
    """Merge spec.podTemplate into a Deployment; the labels that select its pods stay as they are."""
    template = strategic_merge(body["spec"]["template"], plan.overlay or {}, "spec.podTemplate")
    _check_container(template)
    metadata = template.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    labels = metadata.get("labels")
    metadata["labels"] = {**(labels if isinstance(labels, dict) else {}), **plan.pod_labels}
    body["spec"]["template"] = {**template, "metadata": metadata}


def _check_container(template: dict[str, Any]) -> None:
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, dict) else None
    names = [item.get("name") for item in containers if isinstance(item, dict)] if isinstance(containers, list) else []
    if CONTAINER not in names:
        raise InvalidSpecError(
            "spec.podTemplate.spec.containers",
            f"the container {CONTAINER} is missing, and it runs vLLM: change it by an item with name: {CONTAINER}",
        )


def _add_common_metadata(body: dict[str, Any], server: VLLMServer, owned: bool) -> None:
    """Add the metadata of each child: namespace, labels, name of the server and, if `owned`, the owner reference.

    The labels and annotations of one child win over those of all, and the operator's own over both.
    """
    metadata, given, spec = body["metadata"], server.spec.metadata, server.spec
    monitoring = spec.monitoring.labels if body["kind"] in MONITORING_KINDS else {}
    metadata["namespace"] = server.namespace
    metadata["labels"] = {**given.labels, **monitoring, **metadata.get("labels", {}), **recommended_labels(server.name)}
    metadata["annotations"] = {**given.annotations, **metadata.get("annotations", {}), ANNOTATION_SERVER: server.name}
    if owned:
        metadata["ownerReferences"] = [server.owner_reference]
