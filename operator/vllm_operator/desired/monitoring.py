"""Scraping of a server by Prometheus, and its alerts."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import StrEnum

from vllm_operator.api.names import child_name, selector_labels
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import fewest_replicas
from vllm_operator.desired import alerts, objectives
from vllm_operator.desired.prometheus_rule import AlertTemplate, PrometheusRulePlan, RecordingRulePlan, RuleGroupPlan
from vllm_operator.kube.kinds import MONITORING_KINDS, POD_MONITOR, PROMETHEUS_RULE
from vllm_operator.vllm.arguments import PORT, extra_flags


class ScrapeMethod(StrEnum):
    """The way in which Prometheus finds the replicas."""

    POD_MONITOR = "podMonitor"
    ANNOTATIONS = "annotations"
    NONE = "none"


@dataclass(frozen=True)
class PodMonitorPlan:
    """A PodMonitor over the replicas, in the server's own namespace."""

    name: str
    match_labels: dict[str, str]


def scrape_method(server: VLLMServer, kinds: Set[str] = MONITORING_KINDS) -> ScrapeMethod:
    """Return how Prometheus finds the replicas in a cluster with the optional `kinds`.

    Without the CRD, `auto` uses annotations. An explicit `podMonitor` without the CRD uses nothing, and `missing_crds`
    names it: annotations would stay, and scrape the pods a second time, after the CRD is installed.
    """
    wanted = server.spec.monitoring.scrape
    if wanted == "auto":
        return ScrapeMethod.POD_MONITOR if POD_MONITOR in kinds else ScrapeMethod.ANNOTATIONS
    if wanted == "podMonitor" and POD_MONITOR not in kinds:
        return ScrapeMethod.NONE
    return ScrapeMethod(wanted)


def pod_annotations(server: VLLMServer) -> dict[str, str]:
    """Return the scrape annotations of the pods, with `auto` too.

    They must not depend on the CRDs of the cluster: otherwise the installation of prometheus-operator would restart
    each GPU pod. The alerts count a replica once, however many jobs scrape it.
    """
    if server.spec.monitoring.scrape not in {"auto", "annotations"}:
        return {}
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(PORT), "prometheus.io/path": "/metrics"}


def missing_crds(server: VLLMServer, kinds: Set[str]) -> tuple[str, ...]:
    """Return the optional kinds that the spec asks for and the cluster lacks, in alphabetical order."""
    wanted: set[str] = set()
    if server.spec.monitoring.scrape == "podMonitor":
        wanted.add(POD_MONITOR)
    if _wants_rules(server):
        wanted.add(PROMETHEUS_RULE)
    return tuple(sorted(wanted - kinds))


def pod_monitor_plan(server: VLLMServer, kinds: Set[str] = MONITORING_KINDS) -> PodMonitorPlan | None:
    """Return the PodMonitor; None when the replicas are scraped another way, or not at all."""
    if scrape_method(server, kinds) is not ScrapeMethod.POD_MONITOR:
        return None
    return PodMonitorPlan(name=child_name(server.name), match_labels=selector_labels(server.name))


def prometheus_rule_plan(
    server: VLLMServer, kinds: Set[str] = MONITORING_KINDS, runbooks: str = ""
) -> PrometheusRulePlan | None:
    """Return the PrometheusRule; None when neither alerts nor objectives are wanted, or its CRD is absent.

    Args:
        server: an accepted server.
        kinds: optional kinds that the cluster has.
        runbooks: URL of the runbooks, `%s` for the alert.

    Raises:
        InvalidSpecError: a label of the alerts is reserved or not valid in Prometheus.
    """
    if not _wants_rules(server) or PROMETHEUS_RULE not in kinds:
        return None
    subject = alerts.alert_subject(server)

    def group(
        name: str, records: list[RecordingRulePlan], templates: Iterable[AlertTemplate], interval: str | None = None
    ) -> RuleGroupPlan:
        rules = [one.rule_for(f"VLLMServer {server.key}", subject.labels, runbooks) for one in templates]
        return RuleGroupPlan(name, records, rules, interval)

    name = f"vllmserver.{server.name}"
    groups = []
    if server.spec.monitoring.alerts.enabled:
        scraped = scrape_method(server, kinds) is not ScrapeMethod.NONE and _exports_metrics(server)
        watched = scraped and _expects_replicas(server)
        wanted = (*([alerts.no_replica_available] if watched else []), *alerts.LOAD_ALERTS)
        records = [alerts.replicas_serving(subject)] if watched else []
        groups.append(group(name, records, (alert(subject) for alert in wanted)))
    if server.spec.monitoring.slo:
        interval = f"{objectives.INTERVAL_SECONDS}s"
        groups.append(group(f"{name}.slo", objectives.records(subject), objectives.alerts(subject), interval))
    return PrometheusRulePlan(child_name(server.name), groups)


def _wants_rules(server: VLLMServer) -> bool:
    return server.spec.monitoring.alerts.enabled or server.spec.monitoring.slo is not None


def _expects_replicas(server: VLLMServer) -> bool:
    """Return False for a server that may have 0 replicas: a missing answer is then no alert."""
    return fewest_replicas(server.spec) > 0


def _exports_metrics(server: VLLMServer) -> bool:
    """Return False with --disable-log-stats: vLLM then exports no vllm: metrics, and would always look absent."""
    flags = [flag for flag in extra_flags(server.spec) if flag.name == "--disable-log-stats"]
    return not flags or flags[-1].negated
