"""Grant the rights that ship with the operator, and compare them with the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

from tools.harness.audit import AuditLog, Request
from tools.harness.kube import Kube, Object
from vllm_operator.install.manifests import operator_manifests

SYSTEM = "vllm-operator-system"
NAME = "vllm-operator"


def user(namespace: str) -> str:
    """Return the name under which the operator of a namespace authenticates to the API server."""
    return f"system:serviceaccount:{namespace}:{NAME}"


USER = user(SYSTEM)
RBAC = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


class Right(NamedTuple):
    """A verb on a resource, as a rule grants it or a request needs it."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{'.' if self.group else ''}{self.group}"


def lend(kube: Kube, path: Path, manifests: Iterable[Object] | None = None) -> Path:
    """Apply the shipped RBAC, and write to `path` a kubeconfig that has these rights and no other.

    Args:
        kube: the administrator's view of the cluster.
        path: the kubeconfig to write.
        manifests: what the operator ships; those for the whole cluster unless given.
    """
    shipped = [body for body in manifests or operator_manifests("none", SYSTEM) if body["kind"] in RBAC]
    kube.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(shipped))
    token = kube.kubectl("-n", SYSTEM, "create", "token", NAME, "--duration=24h").stdout.strip()
    config = yaml.safe_load(kube.kubeconfig.read_text())
    [user] = config["users"]
    user["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config))
    return path


def granted(roles: Iterable[Object]) -> set[Right]:
    """Return all rights that these roles grant; objects of other kinds grant none."""
    return {
        Right(group, resource, verb)
        for role in roles
        for rule in role.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: Iterable[Request]) -> set[Right]:
    """Return the rights that these requests needed; an apply that creates needs both `patch` and `create`."""
    return {
        Right(request.group, "/".join(filter(None, (request.resource, request.subresource))), verb)
        for request in requests
        if request.resource
        for verb in ([request.verb, "create"] if (request.verb, request.code) == ("patch", 201) else [request.verb])
    }


def requests(audit: AuditLog, mark: int = 0, asker: str = USER) -> list[Request]:
    """Return the requests of the operator's service account since the mark."""
    return [request for request in audit.since(mark, "") if request.user == asker]


def denied(asked: Iterable[Request]) -> list[str]:
    """Return the requests that were answered with 403 because a right was missing."""
    return sorted({f"{request.verb} {request.target} in {request.namespace}" for request in asked if request.is_denied})
