"""The manifests that install the operator, for `kubectl apply`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from vllm_operator.api.crd import crd
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.install.alerts import OperatorSubject, operator_rule_plan

CLUSTER_WIDE = ("clusterrole", "clusterrolebinding")
NAMESPACED = ("servedrole", "servedrolebinding")
OWN = ("role", "rolebinding", "service", "deployment")
POD_MONITOR = "podmonitor"
CLUSTER_OBJECTS = frozenset({"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"})


@dataclass(frozen=True)
class OperatorPlan:
    """The values of the templates under `deploy/`."""

    name: str
    namespace: str
    image: str
    args: list[str]
    labels: dict[str, str]
    selector: dict[str, str]


@dataclass(frozen=True)
class ServedNamespacePlan:
    """The values of the templates for one served namespace."""

    name: str
    namespace: str
    labels: dict[str, str]
    rules: list[dict[str, Any]]
    account: dict[str, str]


@dataclass(frozen=True)
class MonitoringOptions:
    """Monitoring of the operator. All is off by default: an apply fails where the CRDs are not installed.

    Attributes:
        pod_monitor: create a PodMonitor.
        rules: create a PrometheusRule with alerts.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert; the operator gets it as an option.
    """

    pod_monitor: bool = False
    rules: bool = False
    runbooks: str = ""


NO_MONITORING = MonitoringOptions()


def operator_manifests(
    image: str, namespace: str, served: Sequence[str] = (), monitoring: MonitoringOptions = NO_MONITORING
) -> list[dict[str, Any]]:
    """Return Namespace, CRD, RBAC, Service and Deployment of the operator, in the order in which they are applied.

    Args:
        image: container image of the operator.
        namespace: namespace that it runs in.
        served: namespaces that it serves, each with a Role; empty for all, with a ClusterRole.
        monitoring: objects of prometheus-operator for the operator itself.
    """
    selector = {"app.kubernetes.io/name": "vllm-operator", "app.kubernetes.io/component": "controller"}
    args = ["run", "--log-format=json", *(f"--namespace={name}" for name in served)]
    if monitoring.runbooks:
        args.append(f"--runbook-url={monitoring.runbooks}")
    plan = OperatorPlan("vllm-operator", namespace, image, args, selector, selector)
    rights = (
        [*_served_namespaces(plan, served)]
        if served
        else [render_template(f"deploy/{name}", plan) for name in CLUSTER_WIDE]
    )
    first = (render_template("deploy/namespace", plan), crd(), render_template("deploy/serviceaccount", plan))
    own = (render_template(f"deploy/{name}", plan) for name in OWN)
    return [*first, *rights, *own, *_monitoring(plan, monitoring)]


def _monitoring(plan: OperatorPlan, monitoring: MonitoringOptions) -> Iterator[dict[str, Any]]:
    if monitoring.pod_monitor:
        yield render_template(f"deploy/{POD_MONITOR}", plan)
    if monitoring.rules:
        rule = render_template(
            "monitoring/prometheusrule",
            operator_rule_plan(OperatorSubject(plan.name, plan.namespace, monitoring.runbooks)),
        )
        rule["metadata"] |= {"namespace": plan.namespace, "labels": plan.labels}
        yield rule


def _served_namespaces(plan: OperatorPlan, namespaces: Sequence[str]) -> Iterator[dict[str, Any]]:
    # The ClusterRole holds rules about namespaced kinds only, so a Role can hold each of them.
    rules = render_template("deploy/clusterrole", plan)["rules"]
    account = {"kind": "ServiceAccount", "name": plan.name, "namespace": plan.namespace}
    for namespace in namespaces:
        served = ServedNamespacePlan(f"{plan.name}-servers", namespace, plan.labels, rules, account)
        yield from (render_template(f"deploy/{name}", served) for name in NAMESPACED)


class _BlockDumper(yaml.SafeDumper):
    """Write block style, and long texts on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(manifests: Iterable[dict[str, Any]]) -> str:
    """Return the manifests as one YAML stream."""
    return yaml.dump_all(
        manifests, Dumper=_BlockDumper, sort_keys=False, width=1000, explicit_start=True, allow_unicode=True
    )
