"""The state of the operator itself, as far as the rights of the user show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vllm_operator.api.names import LABEL_NAME, MANAGER
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.findings import Finding
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import field, items, name_of, namespace_of
from vllm_operator.kube.kinds import DEPLOYMENT

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object

SELECTOR = f"{LABEL_NAME}={MANAGER}"


def operator_deployments(cluster: Cluster) -> list[Object] | None:
    """Return the Deployments of operators in all namespaces; None if the user may not list them."""
    try:
        return cluster.list(DEPLOYMENT, None, labels=SELECTOR)
    except CallError as error:
        if error.is_forbidden:
            return None
        raise


def operator_findings(cluster: Cluster) -> list[Finding]:
    """Return what is wrong with the operator. One that runs outside the cluster is not seen."""
    found = operator_deployments(cluster)
    if found is None:
        return [Finding("unknown", "operator", "no right to list deployments.apps in all namespaces")]
    if not found:
        return [
            Finding(
                "unknown",
                "operator",
                f"no Deployment with the label {SELECTOR}: if the operator does not run elsewhere, install it",
            )
        ]
    return [finding for deployment in found for finding in _of_deployment(deployment)]


def _of_deployment(deployment: Object) -> Iterator[Finding]:
    subject = f"operator {namespace_of(deployment)}/{name_of(deployment)}"
    if field(deployment, "status", "availableReplicas"):
        return
    if field(deployment, "spec", "replicas") == 0:
        yield Finding("problem", subject, "it is scaled to 0 replicas, so no spec is judged: scale it to 1")
        return
    messages = [
        clean(entry.get("message"), 300)
        for entry in items(deployment, "status", "conditions")
        if entry.get("type") in {"Available", "Progressing", "ReplicaFailure"} and entry.get("message")
    ]
    text = "; ".join(messages) or "no replica is available"
    yield Finding("problem", subject, f"{text}: kubectl -n {namespace_of(deployment)} describe pods -l {SELECTOR}")
