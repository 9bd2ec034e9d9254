"""The whole plan of one server: which objects exist, and the values in each."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from vllm_operator.api.names import child_name, selector_labels
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import possible_replicas
from vllm_operator.desired.autoscaler import AutoscalerPlan, autoscaler_plan
from vllm_operator.desired.cache_volume import ClaimPlan, claim_plan
from vllm_operator.desired.deployment import DeploymentPlan, deployment_plan
from vllm_operator.desired.monitoring import PodMonitorPlan, pod_annotations, pod_monitor_plan, rule_plan
from vllm_operator.desired.prometheus_rule import RulePlan
from vllm_operator.vllm.arguments import engine_values
from vllm_operator.vllm.model_source import resolve


@dataclass(frozen=True)
class ServicePlan:
    """The Service in front of the replicas."""

    name: str
    type: str
    port: int
    selector: dict[str, str]
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class BudgetPlan:
    """The PodDisruptionBudget."""

    name: str
    max_unavailable: int | str
    selector: dict[str, str]


@dataclass(frozen=True)
class ServerPlan:
    """Everything that is to exist for one server; None means that the object is not to exist."""

    deployment: DeploymentPlan
    service: ServicePlan
    claim: ClaimPlan | None
    autoscaler: AutoscalerPlan | None
    budget: BudgetPlan | None
    rule: RulePlan | None
    pod_monitor: PodMonitorPlan | None
    keeps_claim: bool
    served_names: tuple[str, ...] = field(default=())


def build_plan(server: VLLMServer, installed: Set[str], runbooks: str = "") -> ServerPlan:
    """Decide what exists for `server`.

    Args:
        server: an accepted server.
        installed: kinds of the optional CRDs that the cluster has, such as `PodMonitor`.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert; empty for no links.
    """
    source = resolve(server.spec.model)
    cache = server.spec.cache
    return ServerPlan(
        deployment=deployment_plan(server, pod_annotations(server)),
        service=_service(server),
        claim=claim_plan(server),
        autoscaler=autoscaler_plan(server),
        budget=_budget(server),
        rule=rule_plan(server, installed, runbooks),
        pod_monitor=pod_monitor_plan(server, installed),
        keeps_claim=cache is not None and cache.retain,
        served_names=engine_values(server.spec).served_names or source.served_names,
    )


def endpoint(server: VLLMServer) -> str:
    """URL of the Service inside the cluster."""
    port = server.spec.service.port
    return f"http://{child_name(server.name)}.{server.namespace}.svc" + (f":{port}" if port != 80 else "")


def _service(server: VLLMServer) -> ServicePlan:
    service = server.spec.service
    return ServicePlan(
        name=child_name(server.name),
        type=service.type,
        port=service.port,
        selector=selector_labels(server.name),
        labels=dict(service.labels),
        annotations=dict(service.annotations),
    )


def _budget(server: VLLMServer) -> BudgetPlan | None:
    """A budget for a single replica would block every node drain for ever."""
    if possible_replicas(server.spec) < 2:
        return None
    return BudgetPlan(
        name=child_name(server.name),
        max_unavailable=server.spec.disruption.max_unavailable,
        selector=selector_labels(server.name),
    )
