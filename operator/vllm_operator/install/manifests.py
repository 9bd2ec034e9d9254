"""The manifests that install the operator, for `kubectl apply`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from vllm_operator.api.crd import crd
from vllm_operator.api.gateway_crd import gateway_crd
from vllm_operator.api.names import LABEL_INSTANCE, gateway_selector_labels, selector_labels
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.install.admission_policy import pod_template_binding, pod_template_policy
from vllm_operator.install.alerts import OperatorSubject, operator_rule_plan
from vllm_operator.install.dashboards import dashboard_config_maps
from vllm_operator.settings import LEASE_NAME, metrics_role_name, metrics_secret_name
from vllm_operator.validation.pod_template import RESTRICTED
from vllm_operator.validation.secret_references import LABELLED

METRICS_NAMESPACE = "monitoring"
"""Namespace of Prometheus in most clusters."""

CLUSTER_WIDE = ("clusterrole", "clusterrolebinding")
NAMESPACED = ("servedrole", "servedrolebinding")
METRICS_API = ("metricsclusterrole", "metricsclusterrolebinding", "metricsrole", "metricsrolebinding")
OWN = ("role", "rolebinding", "service", "deployment")
POD_VERBS = ("list", "watch", "patch")
READ_NAMESPACES = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}
"""Rule to read, by name, the labels that lift a rule for a namespace. A Role allows it for its own namespace, too."""
GATEWAYS = ("gatewayclusterrole", "gatewayclusterrolebinding")
NETWORK_POLICY = "networkpolicy"
POD_MONITOR = "podmonitor"
CLUSTER_OBJECTS = frozenset(
    {
        "Namespace",
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label that Kubernetes sets on every namespace."""


@dataclass(frozen=True)
class OperatorPlan:
    """The values of the templates under `deploy/`."""

    name: str
    namespace: str
    image: str
    args: list[str]
    labels: dict[str, str]
    selector: dict[str, str]
    lease: str
    pod_verbs: list[str]
    label_rules: list[dict[str, list[str]]]
    metrics_api_ports: tuple[str, ...]
    metrics_role: str
    metrics_secret: str
    gateway_role: str = "vllm-operator-gateways"


@dataclass(frozen=True)
class NetworkPolicyPlan:
    """The values of the template for the operator's NetworkPolicy; an empty selector selects every namespace."""

    name: str
    namespace: str
    labels: dict[str, str]
    selector: dict[str, str]
    metrics_namespaces: dict[str, Any]
    served_namespaces: dict[str, Any]
    replica_labels: dict[str, str]
    metrics_api_ports: tuple[str, ...]
    gateway_labels: tuple[dict[str, str], ...]


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
        server_metrics: export the status of each server as metrics of the operator.
        dashboards: create ConfigMaps with dashboards for Grafana.
    """

    pod_monitor: bool = False
    rules: bool = False
    runbooks: str = ""
    server_metrics: bool = False
    dashboards: bool = False


NO_MONITORING = MonitoringOptions()


@dataclass(frozen=True)
class RightsOptions:
    """Limits of what the authors of VLLMServers and the operator itself may do. The defaults are the narrow ones.

    Attributes:
        pod_template: `restricted` or `free`: whether pod templates may give further rights.
        secrets: `labelled` or `all`: the Secrets that servers may refer to.
        restart_stalled: let the operator delete the pods of stalled engines.
        network_policies: create a NetworkPolicy for the operator.
        metrics_from: namespaces whose pods may read the operator's metrics then.
        metrics_api: let an operator of all namespaces serve the load of the replicas to autoscalers.
        gateways: install the CRD of VLLMGateway, and let the operator run gateways.
    """

    pod_template: str = RESTRICTED
    secrets: str = LABELLED
    restart_stalled: bool = True
    network_policies: bool = False
    metrics_from: tuple[str, ...] = (METRICS_NAMESPACE,)
    metrics_api: bool = True
    gateways: bool = False

    @property
    def arguments(self) -> list[str]:
        """Return the options of `run` that stand for these."""
        restarts = [] if self.restart_stalled else ["--no-restart-stalled"]
        metrics = [] if self.metrics_api else ["--no-metrics-api"]
        return [f"--pod-template={self.pod_template}", f"--secrets={self.secrets}", *restarts, *metrics]

    @property
    def reads_namespaces(self) -> bool:
        """Return whether the operator needs the labels of namespaces."""
        return self.pod_template == RESTRICTED or self.secrets == LABELLED


NARROW_RIGHTS = RightsOptions()


def operator_manifests(
    image: str,
    namespace: str,
    served: Sequence[str] = (),
    monitoring: MonitoringOptions = NO_MONITORING,
    rights: RightsOptions = NARROW_RIGHTS,
) -> list[dict[str, Any]]:
    """Return Namespace, CRD, RBAC, Service and Deployment of the operator, in the order in which they are applied.

    Args:
        image: container image of the operator.
        namespace: namespace that it runs in.
        served: namespaces that it serves, each with a Role; empty for all, with a ClusterRole.
        monitoring: objects of prometheus-operator for the operator itself.
        rights: what authors of servers and the operator may do.
    """
    selector = {"app.kubernetes.io/name": "vllm-operator", "app.kubernetes.io/component": "controller"}
    args = _arguments(image, served, monitoring, rights)
    plan = OperatorPlan(
        "vllm-operator",
        namespace,
        image,
        args,
        selector,
        selector,
        LEASE_NAME,
        [*POD_VERBS, *(["delete"] if rights.restart_stalled else [])],
        [READ_NAMESPACES] if rights.reads_namespaces else [],
        ("metrics-api",) if rights.metrics_api and not served else (),
        metrics_role_name("vllm-operator"),
        metrics_secret_name("vllm-operator"),
    )
    apis = METRICS_API if plan.metrics_api_ports else ()
    cluster_wide = (*CLUSTER_WIDE, *apis, *(GATEWAYS if rights.gateways else ()))
    roles = (
        [*_served_namespaces(plan, served, rights)]
        if served
        else [render_template(f"deploy/{name}", plan) for name in cluster_wide]
    )
    crds = (crd(), gateway_crd()) if rights.gateways else (crd(),)
    first = (render_template("deploy/namespace", plan), *crds, render_template("deploy/serviceaccount", plan))
    own = (render_template(f"deploy/{name}", plan) for name in OWN)
    return [
        *first,
        *_admission_policy(plan, served, rights),
        *roles,
        *own,
        *_network_policies(plan, served, rights),
        *_monitoring(plan, monitoring),
    ]


def _arguments(image: str, served: Sequence[str], monitoring: MonitoringOptions, rights: RightsOptions) -> list[str]:
    args = ["run", "--log-format=json", *rights.arguments, *(f"--namespace={name}" for name in served)]
    if monitoring.runbooks:
        args.append(f"--runbook-url={monitoring.runbooks}")
    if monitoring.server_metrics:
        args.append("--server-metrics")
    if rights.gateways:
        args.append(f"--gateway-agent-image={image}")
    return args


def _admission_policy(plan: OperatorPlan, served: Sequence[str], rights: RightsOptions) -> Iterator[dict[str, Any]]:
    """Yield policy and binding. Each operator of some namespaces has its own, so that it can be uninstalled alone."""
    if rights.pod_template != RESTRICTED:
        return
    name = f"{plan.name}-pod-template" + (f"-{plan.namespace}" if served else "")
    yield pod_template_policy(name, plan.labels)
    yield pod_template_binding(name, plan.labels, tuple(served))


def _network_policies(plan: OperatorPlan, served: Sequence[str], rights: RightsOptions) -> Iterator[dict[str, Any]]:
    if not rights.network_policies:
        return
    network = NetworkPolicyPlan(
        plan.name,
        plan.namespace,
        plan.labels,
        plan.selector,
        metrics_namespaces=_namespace_selector(rights.metrics_from),
        served_namespaces=_namespace_selector(served),
        replica_labels=_without_instance(selector_labels("")),
        metrics_api_ports=plan.metrics_api_ports,
        gateway_labels=(_without_instance(gateway_selector_labels("")),) if rights.gateways else (),
    )
    yield render_template(f"deploy/{NETWORK_POLICY}", network)


def _without_instance(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != LABEL_INSTANCE}


def _namespace_selector(names: Sequence[str]) -> dict[str, Any]:
    """Return the selector of these namespaces; of all of them where there are none."""
    if not names:
        return {}
    return {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": list(names)}]}


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
    if monitoring.dashboards:
        yield from dashboard_config_maps(plan.name, plan.namespace, plan.labels)


def _served_namespaces(
    plan: OperatorPlan, namespaces: Sequence[str], rights: RightsOptions
) -> Iterator[dict[str, Any]]:
    # The ClusterRole holds rules about namespaced kinds only, so a Role can hold each of them.
    roles = ("clusterrole", GATEWAYS[0]) if rights.gateways else ("clusterrole",)
    rules = [rule for role in roles for rule in render_template(f"deploy/{role}", plan)["rules"]]
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
