"""The operator's own manifests: what `kubectl apply` installs until the Helm chart does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from vllm_operator.api.crd import crd
from vllm_operator.render.templates import render

TEMPLATES = (
    "namespace",
    "serviceaccount",
    "clusterrole",
    "clusterrolebinding",
    "role",
    "rolebinding",
    "service",
    "deployment",
)


@dataclass(frozen=True)
class DeployPlan:
    """The values of the templates under `deploy/`."""

    name: str
    namespace: str
    image: str
    labels: dict[str, str]
    selector: dict[str, str]


def deploy_manifests(image: str, namespace: str) -> list[dict[str, Any]]:
    """Namespace, CRD, RBAC, Service and Deployment of the operator, in the order in which they are applied."""
    selector = {"app.kubernetes.io/name": "vllm-operator", "app.kubernetes.io/component": "controller"}
    plan = DeployPlan("vllm-operator", namespace, image, selector, selector)
    rendered = {name: render(f"deploy/{name}", plan) for name in TEMPLATES}
    return [rendered.pop("namespace"), crd(), *rendered.values()]


class _BlockDumper(yaml.SafeDumper):
    """Block style, with long texts kept on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_text(manifests: Iterable[dict[str, Any]]) -> str:
    """The manifests as one YAML stream."""
    return yaml.dump_all(
        manifests, Dumper=_BlockDumper, sort_keys=False, width=1000, explicit_start=True, allow_unicode=True
    )
