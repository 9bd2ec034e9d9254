"""Plain Kubernetes without the operator: the children as files, and a kustomization over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import ANNOTATION_HASH, ANNOTATION_SERVER, LABEL_MANAGED_BY, LABEL_PART_OF, MANAGER
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.targets.coverage import Coverage, spec_paths
from vllm_operator.targets.files import comment_lines, yaml_file
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Setting, Target, TargetFile

_NO_PROBER = "only the operator requests completions from an engine, and finds a stall behind a healthy /health"

_NO_WAIT = "nobody holds a change back until the replica is idle"

LOST: Mapping[str, str] = {
    "health.probeIntervalSeconds": "only the operator probes; the kubelet's probes are carried over",
    "health.syntheticCompletion": _NO_PROBER,
    "health.restartStalled": _NO_PROBER,
    "rollout.waitForIdle": _NO_WAIT,
    "rollout.waitForIdleSeconds": _NO_WAIT,
    "rollout.autoRollback": "nobody takes a failed rollout back; use kubectl rollout undo",
    "paused": "nothing reconciles the files",
    "version": "its arguments are in the Deployment; nothing checks them again",
}
COVERAGE = Coverage(frozenset(spec_paths()) - LOST.keys(), LOST)


@dataclass(frozen=True)
class KustomizationPlan:
    """The values of `targets/kubernetes/kustomization.yaml.j2`."""

    namespace: str
    resources: list[str]
    image: str
    new_name: str
    new_tag: str | None
    digest: str | None


def _stripped(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a child that belongs to nobody: without owner, marks of the operator, and namespace."""
    metadata = {
        key: value for key, value in manifest["metadata"].items() if key not in {"ownerReferences", "namespace"}
    }
    marks = {LABEL_MANAGED_BY: MANAGER, LABEL_PART_OF: "vllm-operator"}
    metadata["labels"] = _without(metadata.get("labels"), marks)
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in {ANNOTATION_HASH, ANNOTATION_SERVER}
    }
    metadata["annotations"] = annotations
    body = {**manifest, "metadata": {key: value for key, value in metadata.items() if value}}
    if manifest["kind"] == "Deployment":
        template = body["spec"]["template"]
        labels = _without(template["metadata"]["labels"], marks)
        body["spec"] = {
            **body["spec"],
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        }
    return body


def _without(labels: Mapping[str, str] | None, marks: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in (labels or {}).items() if marks.get(key) != value}


def _image_parts(image: str) -> tuple[str, str | None, str | None]:
    """Return name, tag and digest of an image."""
    name, _, digest = image.partition("@")
    head, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    return f"{head}{slash}{base}", tag or None, digest or None


def render_kubernetes(order: Order) -> RenderedTarget:
    """Render one file for each child, and kustomization.yaml."""
    server = order.server
    with_monitoring = order.settings.get("monitoring", "yes") == "yes"
    chosen = [item for item in order.manifests if with_monitoring or item["kind"] not in MONITORING_KINDS]
    if order.replicas is not None:
        chosen = [_scaled(item, order.replicas) for item in chosen]
    not_carried = (*(NotCarried(*item) for item in COVERAGE.losses(server.spec)), *_notes(order))
    comment = comment_lines(server, "kubernetes", not_carried)
    files = [TargetFile(f"{item['kind'].lower()}.yaml", yaml_file([_stripped(item)])) for item in chosen]
    name, tag, digest = _image_parts(server.spec.image)
    plan = KustomizationPlan(server.namespace, [item.path for item in files], name, name, tag, digest)
    kustomization = yaml_file([render_template("targets/kubernetes/kustomization", plan)], comment)
    return RenderedTarget(
        (TargetFile("kustomization.yaml", kustomization), *files),
        not_carried,
        ("kubectl kustomize .", "kubectl apply --server-side -k ."),
    )


def _scaled(manifest: Mapping[str, Any], replicas: int) -> Mapping[str, Any]:
    if manifest["kind"] != "Deployment" or "replicas" not in manifest["spec"]:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": replicas}}


def _notes(order: Order) -> tuple[NotCarried, ...]:
    spec = order.server.spec
    notes = [NotCarried("status", "nobody reports whether replicas serve, why they failed, or that an engine stalled")]
    if spec.cache and spec.cache.retain and spec.cache.size:
        notes.append(NotCarried("spec.cache.retain", "`kubectl delete -k .` deletes the claim, too"))
    return tuple(notes)


TARGET = Target(
    name="kubernetes",
    title="plain Kubernetes manifests with a kustomization, for a cluster without the operator",
    render=render_kubernetes,
    coverage=COVERAGE,
    settings=(
        Setting("monitoring", "yes", "yes or no: add PodMonitor and PrometheusRule, which need their CRDs", "yes|no"),
    ),
)
