"""Specs, servers and their rendered children, built from the smallest manifest."""

from __future__ import annotations

from typing import Any

from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.api.server import VLLMServer, parse_server
from vllm_operator.api.spec import Spec
from vllm_operator.desired.children import plan_children
from vllm_operator.desired.rendering.manifests import render_children
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.kube.manifest import Manifest

Json = dict[str, Any]

UID = "4a1f0e7e-9a43-4a38-9d0a-6f2c7f5d8b11"
MODEL = {"uri": "hf://mistralai/Mistral-7B-Instruct-v0.3"}


def body(name: str = "mistral", namespace: str = "llm", *, uid: str = UID, generation: int = 1, **spec: Any) -> Json:
    """A VLLMServer as the API server sends it."""
    metadata = {"name": name, "namespace": namespace, "uid": uid, "generation": generation, "resourceVersion": "1"}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": {"model": MODEL, **spec}}


def server(name: str = "mistral", namespace: str = "llm", **spec: Any) -> VLLMServer:
    """A parsed VLLMServer."""
    return parse_server(body(name, namespace, **spec))


def spec(**fields: Any) -> Spec:
    """A parsed spec."""
    return server(**fields).spec


def manifests(one: VLLMServer, installed: frozenset[str] = MONITORING_KINDS) -> dict[str, Manifest]:
    """Kind -> rendered child."""
    return {manifest.kind: manifest for manifest in render_children(one, plan_children(one, installed))}


def children(name: str = "mistral", **fields: Any) -> dict[str, Json]:
    """Kind -> body of the rendered child."""
    return {kind: manifest.body for kind, manifest in manifests(server(name, **fields)).items()}


def pod_template(**fields: Any) -> Json:
    """The pod template of the Deployment."""
    template: Json = children(**fields)["Deployment"]["spec"]["template"]
    return template


def container(**fields: Any) -> Json:
    """The vLLM container."""
    return named(pod_template(**fields)["spec"]["containers"], "vllm")


def named(items: list[Json], name: str) -> Json:
    """The item of a list with this name."""
    return next(item for item in items if item["name"] == name)
