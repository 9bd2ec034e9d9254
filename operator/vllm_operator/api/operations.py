"""Operation of a server: monitoring, health, rollout, disruption."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.fields import AlertLabels, CelRule, IntOrFraction, IntOrPercent, Labels, Model
from vllm_operator.api.objectives import ServiceLevelObjectives
from vllm_operator.api.tracing import Tracing


class Alerts(Model):
    """The alerts in the PrometheusRule of the server, and their limits."""

    enabled: bool = Field(
        default=True,
        description="Create a PrometheusRule with these alerts, where the CRD of prometheus-operator is installed. "
        "False leaves them out; those of `slo` stay.",
    )
    labels: AlertLabels = Field(
        default_factory=dict,
        description="Labels of each alert, also of `slo`, such as the team to page; `severity` here replaces that of "
        "each alert.",
    )
    p99_latency_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(
        default=30, description="Latency in seconds that 99 % of the requests must keep (VLLMHighLatency)."
    )
    queue_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="Most requests that may wait at one replica (VLLMQueueBacklog)."
    )
    kv_cache_usage: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95, description="Largest used fraction of a replica's KV cache (VLLMKVCacheNearlyFull)."
    )
    error_ratio: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05, description="Largest fraction of requests that may fail with a server error (VLLMHighErrorRate)."
    )


class Monitoring(Model):
    """Scraping, alerts, objectives and tracing."""

    scrape: Literal["auto", "podMonitor", "annotations", "none"] = Field(
        default="auto",
        description="How Prometheus finds the replicas: by a PodMonitor (podMonitor), by prometheus.io annotations of "
        "the pods (annotations), or not at all (none). auto sets the annotations, and adds a PodMonitor where its CRD "
        "is installed.",
    )
    labels: Labels = Field(
        default_factory=dict,
        description="Labels of the PodMonitor and the PrometheusRule, by which a Prometheus selects them, such as "
        "release: kube-prometheus-stack.",
    )
    alerts: Alerts = Field(default_factory=Alerts, description="The alerts on limits, and the labels of all alerts.")
    slo: ServiceLevelObjectives | None = Field(
        default=None,
        description="Objectives, with recording rules and burn-rate alerts in the PrometheusRule. Unset: none.",
    )
    tracing: Tracing | None = Field(
        default=None,
        description="Spans of requests, which vLLM sends to an OpenTelemetry collector. Unset: none. A change restarts "
        "the replicas.",
    )


CompletionMode = Literal["Never", "WhenSuspicious", "Always"]
"""Values of `spec.health.syntheticCompletion`."""


class Health(Model):
    """Startup time, probes, and the reaction to a stalled engine."""

    startup_timeout_seconds: Annotated[int, Field(ge=30, le=86_400)] = Field(
        default=1800,
        description="Seconds that a replica may take to download and load its model before the kubelet restarts it.",
    )
    probe_interval_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=10, description="Seconds between two probes of a replica by the operator."
    )
    synthetic_completion: CompletionMode = Field(
        default="WhenSuspicious",
        description="When the operator requests a completion of one token, which a stalled engine does not answer. "
        "WhenSuspicious: when the counters of the engine do not move although it has requests. Always: also every "
        "20 s while it is idle. Never: not at all.",
    )
    restart_stalled: bool = Field(
        default=False,
        description="Delete the pod of an engine that has been stalled for a minute: one pod at a time, three in an "
        "hour at most. False: the operator reports the stall in the status and deletes nothing.",
    )


class Rollout(Model):
    """Replacement of replicas when the spec changes."""

    max_surge: IntOrPercent = Field(
        default=0,
        description="Replicas, as a number or a percentage, that a rollout may add for a time; each needs spare GPUs.",
    )
    max_unavailable: IntOrFraction = Field(
        default=1, description="Replicas, as a number or a percentage, that may be missing during a rollout."
    )
    drain_timeout_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=120,
        description="Seconds that running requests have to finish when a replica stops; after that vLLM cuts them.",
    )
    wait_for_idle: bool = Field(
        default=False,
        description="Hold a change of the pods of a single replica back until it runs no request, since nothing serves "
        "while it is replaced.",
    )
    wait_for_idle_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=600, description="Seconds for which waitForIdle holds a change back at most."
    )
    auto_rollback: bool = Field(
        default=False,
        description="Take a rollout back to the pods that served last when its replicas crash again and again, cannot "
        "start, or are not ready at the deadline; also when, in their first ten minutes, errors or latency pass the "
        "limits of monitoring.alerts while those of the pods before did not. The spec stays as it is, and is not tried "
        "again until it changes the pods.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.maxSurge) || !has(self.maxUnavailable) || !(self.maxSurge == 0 || self.maxSurge == '0%') "
            "|| !(self.maxUnavailable == 0 || self.maxUnavailable == '0%')",
            "maxSurge and maxUnavailable must not both be 0: set maxUnavailable: 1, or maxSurge: 1 if a GPU is spare",
            field_path=".maxUnavailable",
        ),
    )


class Disruption(Model):
    """The PodDisruptionBudget, which exists when the server may have more than one replica."""

    max_unavailable: IntOrFraction = Field(
        default=1, description="Replicas, as a number or a percentage, that node drains may evict at once."
    )
