"""The few values of a spec that reconciling and status need, kept instead of the whole spec to save memory."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.operations import CompletionMode, Health
from vllm_operator.api.replica_bounds import BoundsInForce
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec, is_asleep, managed_replicas
from vllm_operator.desired.cache_volume import cache_claim
from vllm_operator.desired.children import endpoint_url
from vllm_operator.desired.monitoring import ScrapeMethod, missing_crds, scrape_method
from vllm_operator.kube.kinds import POD_MONITOR, PROMETHEUS_RULE, SCALED_OBJECT
from vllm_operator.probing.service_quality import ServiceLimits
from vllm_operator.vllm.model_source import resolve_model

DEFAULT_HEALTH = Health()
"""Health settings of a server that cannot be parsed."""


@dataclass(frozen=True, slots=True)
class ServerSummary:
    """The values of a server that are kept between two generations; only the identity of one that cannot be parsed.

    Attributes:
        namespace: namespace of the server.
        name: full name of the server.
        uid: UID of the server.
        paused: the operator changes no child.
        probe_interval: seconds between two probes of a replica.
        synthetic_completion: when the operator requests a synthetic completion of a replica.
        wait_for_idle: seconds for which a change of a single replica waits until it is idle; None not to wait.
        auto_rollback: the operator takes a failed rollout back.
        limits: limits of errors and latency by which a rollout fails; None when none is taken back.
        restart_stalled: the operator deletes the pod of a stalled engine.
        replicas: replicas that the spec asks for; None while an autoscaler owns the number.
        autoscaling: the spec asks for an autoscaler.
        scaling: the scaling that the spec asks for; None without any.
        bounds: the bounds of the replicas in force, and their next change; None without autoscaling.
        asleep: the server was scaled to zero, and waits to be woken.
        cache_claim: name of the claim that holds the cache; None without one.
        downloads: vLLM downloads the model when it starts.
        endpoint: URL of the Service inside the cluster.
        missing_crds: optional kinds that monitoring needs and the cluster lacks.
        missing_scalers: optional kinds that scaling needs and the cluster lacks.
        monitoring: the spec asks for scraping or alerts.
        monitoring_children: optional kinds of which the server has a child, such as `PodMonitor`.
        scrape_annotations: Prometheus finds the replicas by the annotations of their pods alone.
    """

    namespace: str
    name: str
    uid: str
    paused: bool = False
    probe_interval: int = DEFAULT_HEALTH.probe_interval_seconds
    synthetic_completion: CompletionMode = DEFAULT_HEALTH.synthetic_completion
    restart_stalled: bool = DEFAULT_HEALTH.restart_stalled
    wait_for_idle: int | None = None
    auto_rollback: bool = False
    limits: ServiceLimits | None = None
    replicas: int | None = None
    autoscaling: bool = False
    scaling: Autoscaling | None = None
    bounds: BoundsInForce | None = None
    asleep: bool = False
    cache_claim: str | None = None
    downloads: bool = False
    endpoint: str = ""
    missing_crds: tuple[str, ...] = ()
    missing_scalers: tuple[str, ...] = ()
    monitoring: bool = False
    monitoring_children: tuple[str, ...] = ()
    scrape_annotations: bool = False

    @property
    def key(self) -> str:
        """Return `namespace/name`, as log lines show it."""
        return f"{self.namespace}/{self.name}"


def summarize(server: VLLMServer, installed: Set[str], bounds: BoundsInForce | None = None) -> ServerSummary:
    """Return the summary of `server` in a cluster with the optional kinds `installed`, and with these bounds."""
    spec, missing = server.spec, missing_crds(server, installed)
    method, alerts = scrape_method(server, installed), spec.monitoring.alerts.enabled
    children = {
        POD_MONITOR: method is ScrapeMethod.POD_MONITOR,
        PROMETHEUS_RULE: alerts and PROMETHEUS_RULE in installed,
    }
    return ServerSummary(
        namespace=server.namespace,
        name=server.name,
        uid=server.uid,
        paused=spec.paused,
        probe_interval=spec.health.probe_interval_seconds,
        synthetic_completion=spec.health.synthetic_completion,
        restart_stalled=spec.health.restart_stalled,
        wait_for_idle=spec.rollout.wait_for_idle_seconds if spec.rollout.wait_for_idle else None,
        auto_rollback=spec.rollout.auto_rollback,
        limits=_limits(spec),
        replicas=managed_replicas(spec, server.bounds),
        autoscaling=spec.autoscaling is not None,
        scaling=spec.autoscaling,
        bounds=bounds,
        asleep=is_asleep(spec, server.bounds),
        cache_claim=cache_claim(server),
        downloads=resolve_model(spec.model).downloads,
        endpoint=endpoint_url(server),
        missing_crds=missing,
        missing_scalers=(SCALED_OBJECT,) if _lacks_keda(spec, installed) else (),
        monitoring=bool(missing) or alerts or method is not ScrapeMethod.NONE,
        monitoring_children=tuple(kind for kind, wanted in children.items() if wanted),
        scrape_annotations=method is ScrapeMethod.ANNOTATIONS,
    )


def _limits(spec: Spec) -> ServiceLimits | None:
    alerts = spec.monitoring.alerts
    return ServiceLimits(alerts.error_ratio, alerts.p99_latency_seconds) if spec.rollout.auto_rollback else None


def _lacks_keda(spec: Spec, installed: Set[str]) -> bool:
    return spec.autoscaling is not None and spec.autoscaling.source == "keda" and SCALED_OBJECT not in installed
