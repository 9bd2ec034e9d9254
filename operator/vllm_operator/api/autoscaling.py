"""Scaling of a server on its load: who scales it, on what, and within which bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.core import ScalingBehavior
from vllm_operator.api.fields import CelRule, FreeObject, Model
from vllm_operator.api.schedule import MAX_WINDOWS, ScheduleWindow

Source = Literal["builtin", "operator", "prometheus-adapter", "keda"]
"""Values of `spec.autoscaling.source`."""

Replicas = Annotated[int, Field(ge=0, le=10_000)]


class KedaFallback(Model):
    """Replicas while KEDA cannot read a trigger."""

    failure_threshold: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=3, description="Failed reads in a row after which the fallback counts."
    )
    replicas: Annotated[int, Field(ge=0, le=10_000)] = Field(description="Replicas while the fallback counts.")


class Keda(Model):
    """The ScaledObject of `source: keda`: a trigger on Prometheus, or triggers of your own."""

    server_address: Annotated[str, Field(max_length=2048, pattern=r"^https?://[!-~]+$")] | None = Field(
        default=None,
        description="URL of Prometheus, such as http://prometheus.monitoring.svc:9090, where KEDA reads the running "
        "and waiting requests of the server.",
    )
    authentication: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description="TriggerAuthentication of the same namespace with the credentials and the CA for serverAddress.",
    )
    triggers: Annotated[list[FreeObject], Field(max_length=16)] = Field(
        default_factory=list,
        description="Further triggers, as KEDA defines them. With minReplicas: 0, one of them must see requests that "
        "arrive while no replica runs.",
    )
    polling_interval_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=15, description="Seconds between two reads of the triggers."
    )
    fallback: KedaFallback | None = Field(
        default=None, description="Replicas while a trigger cannot be read. Unset: the number stays as it is."
    )


class Autoscaling(Model):
    """Scaling on vLLM's own load. `spec.replicas` is ignored while this is set, but for `source: operator`."""

    min_replicas: Replicas = Field(
        default=1,
        description="Fewest replicas. With 0, a server without requests goes to sleep after idleSeconds. kubectl scale "
        "wakes it, and so does the annotation vllm-operator.dev/wake with the present time.",
    )
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Most replicas.")
    target_running_requests: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=50,
        description="Running and waiting requests per replica that the autoscaler aims at, on average. It must be "
        "below engine.maxNumSeqs. With source: prometheus-adapter, running requests alone.",
    )
    target_kv_cache_usage: Annotated[float, Field(ge=0.001, le=1)] | None = Field(
        default=None,
        alias="targetKVCacheUsage",
        description="Used fraction of the KV cache per replica that the autoscaler aims at, on average, 0.001 to 1. "
        "Unset: the autoscaler ignores the KV cache.",
    )
    source: Source = Field(
        default="builtin",
        description="Who scales. builtin: a HorizontalPodAutoscaler reads the load from the operator. "
        "prometheus-adapter: it reads the load from that adapter. keda: a ScaledObject of KEDA. operator: the operator "
        "itself, which sets spec.replicas by /scale; it needs no metrics API.",
    )
    behavior: ScalingBehavior | None = Field(
        default=None,
        description="Scaling policies, which replace the operator's own. Unset: up at once, by 4 replicas or 100 % "
        "in a minute; down by one replica in 2 minutes after 10 minutes of low load.",
    )
    idle_seconds: Annotated[int, Field(ge=30, le=604_800)] = Field(
        default=900, description="Seconds without a request after which a server with minReplicas: 0 goes to sleep."
    )
    fast_path: bool = Field(
        default=False,
        description="Raise the fewest replicas of the autoscaler as soon as requests exceed the target, and give that "
        "back when the autoscaler asks for as many itself or the load is gone. Kubernetes before 1.37 looks at the "
        "change up to 15 s later; source: operator needs no newer one. Not with source: keda.",
    )
    schedule: Annotated[list[ScheduleWindow], Field(max_length=MAX_WINDOWS)] = Field(
        default_factory=list,
        description="Windows of time with other bounds. Of several open windows, the one with the largest minReplicas "
        "counts, then the one with the largest maxReplicas.",
    )
    keda: Keda | None = Field(default=None, description="The ScaledObject of source: keda.")
    paused: bool = Field(default=False, description="Keep the number of replicas as it is, whatever the load.")

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            field_path=".minReplicas",
        ),
        CelRule(
            "self.source != 'keda' || has(self.keda) && (has(self.keda.serverAddress) || has(self.keda.triggers))",
            "source: keda needs keda.serverAddress, the URL of Prometheus, or keda.triggers",
            field_path=".keda",
        ),
        CelRule(
            "!has(self.fastPath) || !self.fastPath || self.source != 'keda'",
            "fastPath does not work with source: keda, whose autoscaler belongs to KEDA: remove fastPath, or choose "
            "source: builtin or operator",
            field_path=".fastPath",
        ),
        CelRule(
            "!has(self.schedule) || self.schedule.all(w, "
            "(has(w.minReplicas) ? w.minReplicas : self.minReplicas) <= "
            "(has(w.maxReplicas) ? w.maxReplicas : self.maxReplicas))",
            "minReplicas must not exceed maxReplicas in any window of schedule, where autoscaling.minReplicas and "
            "autoscaling.maxReplicas stand for those that a window leaves out: set both in the window",
            field_path=".schedule",
        ),
    )
