"""How the server is run: autoscaling, service, monitoring, health, rollout, disruption."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.core import ScalingBehavior
from vllm_operator.api.fields import AlertLabels, Annotations, CelRule, IntOrFraction, IntOrPercent, Labels, Model


class Autoscaling(Model):
    """A HorizontalPodAutoscaler on vLLM's own load. `spec.replicas` is ignored while this is set."""

    min_replicas: Annotated[int, Field(le=10_000)] = Field(default=1, description="Fewest replicas.")
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Most replicas.")
    target_running_requests: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=50, description="Average of vllm_num_requests_running per replica; below engine.maxNumSeqs."
    )
    target_kv_cache_usage: Annotated[float, Field(ge=0.001, le=1)] | None = Field(
        default=None,
        alias="targetKVCacheUsage",
        description="Average fraction of the KV cache in use per replica, 0.001 <= x <= 1.",
    )
    source: Literal["prometheus-adapter"] = Field(
        default="prometheus-adapter", description="Who serves the metrics to the HorizontalPodAutoscaler."
    )
    behavior: ScalingBehavior | None = Field(
        default=None,
        description="Replaces the default policies, which fit the minutes that a model takes to load.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.minReplicas >= 1",
            "minReplicas must be 1 or more: a pod metric cannot wake a server that has no pod",
            field_path=".minReplicas",
        ),
        CelRule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            field_path=".minReplicas",
        ),
    )


class Service(Model):
    """The Service in front of the replicas."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    annotations: Annotations = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)


class Alerts(Model):
    """Thresholds of the PrometheusRule."""

    enabled: bool = True
    labels: AlertLabels = Field(default_factory=dict, description="Labels of every alert, such as a team to page.")
    p99_latency_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(default=30, description="Seconds.")
    queue_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=100, description="Waiting requests.")
    kv_cache_usage: Annotated[float, Field(gt=0, le=1)] = Field(default=0.95, description="Fraction of the KV cache.")
    error_ratio: Annotated[float, Field(gt=0, le=1)] = Field(default=0.05, description="Fraction of requests.")


class Monitoring(Model):
    """Scraping and alerts."""

    scrape: Literal["auto", "podMonitor", "annotations", "none"] = Field(
        default="auto", description="auto: a PodMonitor where its CRD is installed, else scrape annotations."
    )
    alerts: Alerts = Field(default_factory=Alerts)


CompletionMode = Literal["Never", "WhenSuspicious", "Always"]
"""Values of `spec.health.syntheticCompletion`."""


class Health(Model):
    """When a replica counts as started, and how often the operator asks it."""

    startup_timeout_seconds: Annotated[int, Field(ge=30, le=86_400)] = Field(
        default=1800, description="Time for download and load before the container is restarted."
    )
    probe_interval_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=10, description="How often the operator asks every replica."
    )
    synthetic_completion: CompletionMode = Field(
        default="WhenSuspicious",
        description="When the operator asks a replica for one token, the only sign of life that a frozen engine does "
        "not give: while its metrics stand still under load, or also, every 20 s, while it is idle.",
    )
    restart_stalled: bool = Field(
        default=False,
        description="Delete the pod of a frozen engine after a minute, one at a time and three in an hour at most.",
    )


class Rollout(Model):
    """How replicas are replaced."""

    max_surge: IntOrPercent = Field(default=0, description="Replicas above the wanted number; each needs a spare GPU.")
    max_unavailable: IntOrFraction = Field(default=1, description="Replicas below the wanted number.")
    drain_timeout_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=120, description="Time that running requests get to finish when a replica stops."
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
    """A PodDisruptionBudget, when more than one replica is possible."""

    max_unavailable: IntOrFraction = Field(default=1, description="Replicas that a node drain may take at once.")
