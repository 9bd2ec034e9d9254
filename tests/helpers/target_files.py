"""Rendered targets of servers, and the manifests that all targets are tested with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.golden.documents import MANIFESTS
from tests.helpers.specs import body
from vllm_operator.api.server import parse_server
from vllm_operator.desired.children import plan_children
from vllm_operator.desired.rendering.manifests import render_children
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.targets.registry import render_target
from vllm_operator.targets.target import Order, RenderedTarget

H100 = "NVIDIA-H100-80GB-HBM3"
L4 = "NVIDIA-L4"

GOLDEN = sorted(path.stem for path in MANIFESTS.glob("*.yaml"))

HARD = {
    "quotes": {
        "engine": {
            "chatTemplate": "{% for m in messages %}$m ${X} $$ 'a' \"b\" \\ %h\n\tx{% endfor %}",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A) $$(A) $(NONE) %n \"q\" 'p' ${Z} # no"}],
            "extraArgs": ["--seed=7", '--hf-overrides={"a": "$HOME %t"}'],
        }
    },
    "secrets": {
        "model": {"uri": "hf://org/gated", "tokenSecretRef": {"name": "hf.main", "key": "the_token"}},
        "security": {"apiKeySecretRef": {"name": "keys", "key": "llm"}},
        "replicas": 3,
    },
    "claim": {"model": {"uri": "pvc://models/llama/8b"}, "cache": {"size": "10Gi", "perReplica": True}, "replicas": 2},
    "nfs": {"cache": {"volume": {"nfs": {"server": "10.0.0.7", "path": "/exports/models"}}}},
    "host": {"cache": {"volume": {"hostPath": {"path": "/mnt/models"}}}, "service": {"type": "LoadBalancer"}},
    "cpu": {"accelerator": {"resourceName": ""}, "resources": {"limits": {"cpu": "3500m", "memory": "12Gi"}}},
    "node port": {
        "service": {"type": "NodePort", "nodePort": 30080},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
    },
}
"""Name -> fields of a spec whose values are syntax in some format, or that need something of the target."""


def render(
    target: str, replicas: int | None = None, settings: dict[str, str] | None = None, **fields: Any
) -> RenderedTarget:
    """Render a target for a spec with these fields."""
    return rendered(target, body(**fields), replicas, settings)


def rendered(
    target: str, document: dict[str, Any], replicas: int | None = None, settings: dict[str, str] | None = None
) -> RenderedTarget:
    """Render a target for a VLLMServer."""
    order = order_of(document)
    return render_target(target, order.server, order.manifests, settings, replicas)


def order_of(document: dict[str, Any]) -> Order:
    """Return a server with its rendered children."""
    server = parse_server(document)
    children = render_children(server, plan_children(server, MONITORING_KINDS, drains=False))
    return Order(server, [manifest.body for manifest in children])


def golden(name: str) -> dict[str, Any]:
    """Return a manifest of the golden files, as the API server would send it."""
    document: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    document["metadata"].update(namespace="llm", uid="4a1f0e7e-9a43-4a38-9d0a-6f2c7f5d8b11", generation=1)
    return document


def text_of(result: RenderedTarget, path: str) -> str:
    """Return the text of one file."""
    return next(file.text for file in result.files if file.path == path)


def object_of(result: RenderedTarget, path: str) -> dict[str, Any]:
    """Return the object in a YAML or JSON file."""
    text = text_of(result, path)
    loaded: dict[str, Any] = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    return loaded


def write(result: RenderedTarget, folder: Path) -> None:
    """Write the files to a folder."""
    for file in result.files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_text(file.text)


def lost(result: RenderedTarget) -> dict[str, str]:
    """Field -> what happens instead."""
    return {item.field: item.message for item in result.not_carried}
