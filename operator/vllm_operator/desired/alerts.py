"""The alert rules of a server: names, expressions, waits and words in one place. Runbooks: docs/runbooks/."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vllm_operator.api.operations import Alerts
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.prometheus_rule import AlertTemplate, RecordingRulePlan
from vllm_operator.errors import InvalidSpecError
from vllm_operator.vllm.metric_series import ServerSeries, server_series

SERVING = "vllmserver:replicas_serving:count"
"""Recorded: replicas that answer a scrape with vLLM's metrics; 0 when there is none, never absent."""

START_SLACK_SECONDS = 300
"""Time beyond the startup budget, at whose end the kubelet restarts a replica that is not up."""

MIN_FAILURES = 3
"""So many failed requests in five minutes are no alarm yet, whatever their share: a quiet night is not an outage."""

PREEMPTIONS_PER_REQUEST = 0.1
"""Preemptions for each finished request above which users feel the repeated work."""

INFERENCE = "/v1/(chat/completions|completions|embeddings|responses|messages)|/pooling|/invocations"
"""Handlers that need the engine."""

RESERVED_LABELS = frozenset({"alertname", "namespace", "pod", "engine", "vllmserver"})
"""Labels that tell alerts apart; a fixed value would make Prometheus fail the rule as ambiguous."""

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class AlertSubject:
    """What an alert speaks about: a server, its series, and its limits."""

    server: VLLMServer
    series: ServerSeries

    @property
    def limits(self) -> Alerts:
        """Thresholds and labels of the spec."""
        return self.server.spec.monitoring.alerts

    @property
    def start_budget(self) -> str:
        """Time that a replica may take to start."""
        return f"{self.server.spec.health.startup_timeout_seconds + START_SLACK_SECONDS}s"

    @property
    def identity(self) -> dict[str, str]:
        """Labels that name the server."""
        return {"namespace": self.server.namespace, "vllmserver": self.server.name}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every alert; those of the spec may change the severity, never the identity."""
        return {**_checked_labels(self.limits.labels), **self.identity}


def alert_subject(server: VLLMServer) -> AlertSubject:
    """The subject of all alerts of a server."""
    return AlertSubject(server, server_series(server))


def replicas_serving(s: AlertSubject) -> RecordingRulePlan:
    """Counts replicas by a metric of vLLM: `up` may also come from a sidecar of a dead replica."""
    running = s.series(s.series.names.running)
    return RecordingRulePlan(name=SERVING, expr=f"count(count by (pod) ({running})) or vector(0)", labels=s.identity)


def no_replica_available(s: AlertSubject) -> AlertTemplate:
    """Needs `replicas_serving`. Silent while a new server starts for the first time, as long as the budget lasts."""
    serving = f'{SERVING}{{namespace="{s.server.namespace}",vllmserver="{s.server.name}"}}'
    return AlertTemplate(
        "VLLMNoReplicaAvailable",
        f"{serving} == 0\n"
        "and (\n"
        f"  max_over_time({serving}[{s.start_budget}]) > 0\n"
        f"  or {serving} offset {s.start_budget} >= 0\n"
        ")",
        wait="5m",
        severity="critical",
        summary="no replica serves",
        description="No replica has answered for five minutes: every request fails.",
    )


def replica_down(s: AlertSubject) -> AlertTemplate:
    """A loading replica has its port closed, so only one that is down for longer than a start is news."""
    return AlertTemplate(
        "VLLMReplicaDown",
        f"min by (namespace, pod) ({s.series('up')}) == 0\n"
        f"unless on (namespace, pod) count by (namespace, pod) ({s.series(s.series.names.running)})",
        wait=s.start_budget,
        severity="warning",
        summary="a replica does not come up",
        description="{{ $labels.pod }} has not answered for longer than a start may take.",
    )


def engine_stalled(s: AlertSubject) -> AlertTemplate:
    """Prompts count as progress, and so does a cache that fills: a long prompt moves no token counter until its end.

    An engine that froze while idle goes on telling that it holds nothing. What its clients give up counts as 2xx.
    """
    names = s.series.names
    ended = s.series(names.http_requests, 'method="POST"', 'status="2xx"', f'handler=~"{INFERENCE}"')
    return AlertTemplate(
        "VLLMEngineStalled",
        "max by (namespace, pod, engine) (\n"
        f"  {s.series(names.running)} + {s.series(names.waiting)} > 0\n"
        f"  and increase({s.series(names.generation_tokens)}[5m]) == 0\n"
        f"  and increase({s.series(names.prompt_tokens)}[5m]) == 0\n"
        f"  and changes({s.series(names.kv_cache)}[5m]) == 0\n"
        ")\n"
        "or on (namespace, pod) (\n"
        f"  sum by (namespace, pod) (increase({ended}[5m])) > 0\n"
        f"  and sum by (namespace, pod) (increase({s.series(names.generation_tokens)}[5m])) == 0\n"
        f"  and sum by (namespace, pod) (increase({s.series(names.prompt_tokens)}[5m])) == 0\n"
        f"  and sum by (namespace, pod) (changes({s.series(names.kv_cache)}[5m])) == 0\n"
        ")",
        wait="2m",
        severity="critical",
        summary="an engine stands still",
        description="{{ $labels.pod }} was asked for tokens and has processed none for five minutes.",
    )


def high_error_rate(s: AlertSubject) -> AlertTemplate:
    """Inference is POST; probes and the listing of models are GET and would dilute the share."""
    failed = s.series(s.series.names.http_requests, 'method="POST"', 'status="5xx"')
    requests = s.series(s.series.names.http_requests, 'method="POST"')
    return AlertTemplate(
        "VLLMHighErrorRate",
        f"sum(rate({failed}[5m])) / sum(rate({requests}[5m])) > {_number(s.limits.error_ratio)}\n"
        f"and sum(increase({failed}[5m])) > {MIN_FAILURES}",
        wait="2m",
        severity="critical",
        summary="requests fail",
        description="{{ $value | humanizePercentage }} of the requests end in a server error "
        f"(limit {_percent(s.limits.error_ratio)}).",
    )


def high_latency(s: AlertSubject) -> AlertTemplate:
    """The 99th percentile over all replicas; the buckets are summed before the quantile is taken."""
    limit = _number(s.limits.p99_latency_seconds)
    return AlertTemplate(
        "VLLMHighLatency",
        f"histogram_quantile(0.99, sum by (le) (rate({s.series(s.series.names.latency)}[5m]))) > {limit}",
        wait="5m",
        severity="warning",
        summary="requests take long",
        description=f"The slowest 1% of requests take {{{{ $value | humanizeDuration }}}} or more (limit {limit} s).",
    )


def queue_backlog(s: AlertSubject) -> AlertTemplate:
    """The longest queue of a replica, not the sum: ten replicas with ten each are fine, one with a hundred is not.

    The inner max counts a replica once that two jobs scrape; the sum is over its data-parallel engines.
    """
    waiting = s.series(s.series.names.waiting)
    return AlertTemplate(
        "VLLMQueueBacklog",
        f"max(sum by (pod) (max by (pod, engine) ({waiting}))) > {s.limits.queue_length}",
        wait="2m",
        severity="warning",
        summary="requests queue up",
        description=f"{{{{ $value }}}} requests wait at one replica (limit {s.limits.queue_length}).",
    )


def kv_cache_nearly_full(s: AlertSubject) -> AlertTemplate:
    """vLLM exports a fraction: 1 means full. The average lets a cache that hovers about the limit fire, too."""
    usage = s.series(s.series.names.kv_cache)
    return AlertTemplate(
        "VLLMKVCacheNearlyFull",
        f"max by (namespace, pod) (avg_over_time({usage}[5m])) > {_number(s.limits.kv_cache_usage)}",
        wait="5m",
        severity="warning",
        summary="the KV cache is nearly full",
        description="{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its KV cache "
        f"(limit {_percent(s.limits.kv_cache_usage)}).",
    )


def preemptions(s: AlertSubject) -> AlertTemplate:
    """Each preempted request is computed again from its start: the share of such work, whatever the traffic."""
    preempted, finished = s.series(s.series.names.preemptions), s.series(s.series.names.finished)
    return AlertTemplate(
        "VLLMPreemptions",
        f"sum(rate({preempted}[5m])) / sum(rate({finished}[5m])) > {PREEMPTIONS_PER_REQUEST}",
        wait="10m",
        severity="warning",
        summary="running requests are preempted",
        description="{{ $value | humanize }} preemptions for each finished request: the KV cache is too small.",
    )


LOAD_ALERTS = (
    replica_down,
    engine_stalled,
    high_error_rate,
    high_latency,
    queue_backlog,
    kv_cache_nearly_full,
    preemptions,
)
"""Alerts that speak of series that are there, and stay silent where nobody scrapes."""


def _checked_labels(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if not _LABEL.fullmatch(key) or key in RESERVED_LABELS:
            raise InvalidSpecError(
                "spec.monitoring.alerts.labels",
                f"{key!r} cannot label an alert: use letters, digits and _, and none of "
                f"{', '.join(sorted(RESERVED_LABELS))}",
            )
    # Prometheus expands templates in label values; the user's text is data.
    return {key: value.replace("{{", '{{"{{"}}') for key, value in labels.items()}


def _number(value: float) -> str:
    return f"{value:.12g}"


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.6g}%"
