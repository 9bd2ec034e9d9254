"""The operator's own manifests: what `kubectl apply` installs until the Helm chart does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from vllm_operator.api.crd import crd
from vllm_operator.desired.rendering.templates import render
from vllm_operator.install.alerts import Operator, operator_rules

CLUSTER_WIDE = ("clusterrole", "clusterrolebinding")
NAMESPACED = ("servedrole", "servedrolebinding")
OWN = ("role", "rolebinding", "service", "deployment")
POD_MONITOR = "podmonitor"
CLUSTER_OBJECTS = frozenset({"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"})


@dataclass(frozen=True)
class DeployPlan:
    """The values of the templates under `deploy/`."""

    name: str
    namespace: str
    image: str
    args: list[str]
    labels: dict[str, str]
    selector: dict[str, str]


@dataclass(frozen=True)
class ServedPlan:
    """The values of the templates for one of the namespaces that are served."""

    name: str
    namespace: str
    labels: dict[str, str]
    rules: list[dict[str, Any]]
    account: dict[str, str]


@dataclass(frozen=True)
class Watching:
    """What watches the operator. Nothing unless asked for: an apply fails where the CRDs are not installed.

    Attributes:
        pod_monitor: have prometheus-operator scrape it.
        rules: with alerts.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert; the operator is told, too.
    """

    pod_monitor: bool = False
    rules: bool = False
    runbooks: str = ""


UNWATCHED = Watching()


def deploy_manifests(
    image: str, namespace: str, served: Sequence[str] = (), watching: Watching = UNWATCHED
) -> list[dict[str, Any]]:
    """Namespace, CRD, RBAC, Service and Deployment of the operator, in the order in which they are applied.

    Args:
        image: image of the operator.
        namespace: where it runs.
        served: the namespaces that it serves, each with a Role; none for all, with a ClusterRole.
        watching: objects of prometheus-operator for the operator itself.
    """
    selector = {"app.kubernetes.io/name": "vllm-operator", "app.kubernetes.io/component": "controller"}
    args = ["run", "--log-format=json", *(f"--namespace={name}" for name in served)]
    if watching.runbooks:
        args.append(f"--runbook-url={watching.runbooks}")
    plan = DeployPlan("vllm-operator", namespace, image, args, selector, selector)
    rights = [*_served(plan, served)] if served else [render(f"deploy/{name}", plan) for name in CLUSTER_WIDE]
    first = (render("deploy/namespace", plan), crd(), render("deploy/serviceaccount", plan))
    own = (render(f"deploy/{name}", plan) for name in OWN)
    return [*first, *rights, *own, *_monitoring(plan, watching)]


def _monitoring(plan: DeployPlan, watching: Watching) -> Iterator[dict[str, Any]]:
    if watching.pod_monitor:
        yield render(f"deploy/{POD_MONITOR}", plan)
    if watching.rules:
        rule = render(
            "monitoring/prometheusrule", operator_rules(Operator(plan.name, plan.namespace, watching.runbooks))
        )
        rule["metadata"] |= {"namespace": plan.namespace, "labels": plan.labels}
        yield rule


def _served(plan: DeployPlan, namespaces: Sequence[str]) -> Iterator[dict[str, Any]]:
    rules = served_rules(render("deploy/clusterrole", plan)["rules"])
    account = {"kind": "ServiceAccount", "name": plan.name, "namespace": plan.namespace}
    for namespace in namespaces:
        served = ServedPlan(f"{plan.name}-servers", namespace, plan.labels, rules, account)
        yield from (render(f"deploy/{name}", served) for name in NAMESPACED)


def served_rules(rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules of the ClusterRole that a Role can hold: CRDs belong to no namespace."""
    return [rule for rule in rules if "customresourcedefinitions" not in rule["resources"]]


class _BlockDumper(yaml.SafeDumper):
    """Block style, with long texts kept on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_text(manifests: Iterable[dict[str, Any]]) -> str:
    """The manifests as one YAML stream."""
    return yaml.dump_all(
        manifests, Dumper=_BlockDumper, sort_keys=False, width=1000, explicit_start=True, allow_unicode=True
    )
