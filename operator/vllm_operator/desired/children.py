"""The children of a server: which of them exist, and the values of each."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.names import child_name, selector_labels
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import possible_replicas
from vllm_operator.desired.autoscaler import AutoscalerPlan, ScaledObjectPlan, autoscaler_plan, scaled_object_plan
from vllm_operator.desired.cache_volume import ClaimPlan, claim_plan
from vllm_operator.desired.deployment import DeploymentPlan, deployment_plan
from vllm_operator.desired.drain import drain_plan
from vllm_operator.desired.model_dump import dump_model
from vllm_operator.desired.monitoring import PodMonitorPlan, pod_annotations, pod_monitor_plan, prometheus_rule_plan
from vllm_operator.desired.prometheus_rule import PrometheusRulePlan
from vllm_operator.vllm.arguments import engine_values
from vllm_operator.vllm.model_source import resolve_model


@dataclass(frozen=True)
class ServicePlan:
    """The Service in front of the replicas; `details` are further fields of its spec."""

    name: str
    type: str
    port: int
    node_port: int | None
    selector: dict[str, str]
    labels: dict[str, str]
    annotations: dict[str, str]
    details: dict[str, Any]


@dataclass(frozen=True)
class DisruptionBudgetPlan:
    """The PodDisruptionBudget."""

    name: str
    max_unavailable: int | str
    selector: dict[str, str]


@dataclass(frozen=True)
class ChildrenPlan:
    """The values of all children of a server; None for a child that the spec does not ask for.

    Attributes:
        keeps_claim: the claim of the cache has no owner reference, so that it stays when the server is deleted.
        served_names: names that the replicas serve.
    """

    deployment: DeploymentPlan
    service: ServicePlan
    claim: ClaimPlan | None
    autoscaler: AutoscalerPlan | None
    scaled_object: ScaledObjectPlan | None
    budget: DisruptionBudgetPlan | None
    rule: PrometheusRulePlan | None
    pod_monitor: PodMonitorPlan | None
    keeps_claim: bool
    served_names: tuple[str, ...] = field(default=())


def plan_children(server: VLLMServer, installed: Set[str], runbooks: str = "", *, drains: bool = True) -> ChildrenPlan:
    """Return the children that a spec asks for.

    Args:
        server: an accepted server.
        installed: kinds of the optional CRDs that the cluster has, such as `PodMonitor`.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert; empty for no links.
        drains: the replicas drain by the middleware, where their vLLM can load it.

    Raises:
        InvalidSpecError: an argument or a label of the alerts is invalid.
    """
    model = resolve_model(server.spec.model)
    cache = server.spec.cache
    return ChildrenPlan(
        deployment=deployment_plan(server, pod_annotations(server), drain_plan(server) if drains else None),
        service=_service_plan(server),
        claim=claim_plan(server),
        autoscaler=autoscaler_plan(server),
        scaled_object=scaled_object_plan(server, installed),
        budget=_disruption_budget_plan(server),
        rule=prometheus_rule_plan(server, installed, runbooks),
        pod_monitor=pod_monitor_plan(server, installed),
        keeps_claim=cache is not None and cache.retain,
        served_names=engine_values(server.spec).served_names or model.served_names,
    )


def endpoint_url(server: VLLMServer) -> str:
    """Return the URL of the Service inside the cluster."""
    port = server.spec.service.port
    return f"http://{child_name(server.name)}.{server.namespace}.svc" + (f":{port}" if port != 80 else "")


def _service_plan(server: VLLMServer) -> ServicePlan:
    service = server.spec.service
    return ServicePlan(
        name=child_name(server.name),
        type=service.type,
        port=service.port,
        node_port=service.node_port,
        selector=selector_labels(server.name),
        labels=dict(service.labels),
        annotations=dict(service.annotations),
        details=dump_model(service.spec) if service.spec else {},
    )


def _disruption_budget_plan(server: VLLMServer) -> DisruptionBudgetPlan | None:
    """Return the budget; None for a single replica, since a budget would block each node drain without end."""
    if possible_replicas(server.spec) < 2:
        return None
    return DisruptionBudgetPlan(
        name=child_name(server.name),
        max_unavailable=server.spec.disruption.max_unavailable,
        selector=selector_labels(server.name),
    )
