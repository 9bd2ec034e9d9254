"""The alerts of a server: name, expression, duration and texts of each. Runbooks: docs/runbooks/."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vllm_operator.api.operations import Alerts
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.prometheus_rule import AlertTemplate, RecordingRulePlan
from vllm_operator.desired.promql import number, percent, requests_in
from vllm_operator.errors import InvalidSpecError
from vllm_operator.vllm.metric_series import SLEEP_STATE, ServerSeries, server_series

SERVING = "vllmserver:replicas_serving:count"
"""Recorded: the number of replicas that answer a scrape with vLLM's metrics; 0 without replicas, never absent."""

START_SLACK_SECONDS = 300
"""Seconds after the startup timeout, at whose end the kubelet restarts a replica that is not up."""

MIN_FAILURES = 3
"""Failed requests in five minutes that raise no alert yet, whatever their share: few requests are not an outage.

Rules compare with one more: Prometheus extrapolates an increase of 3 to 3.2, or to 3.75 with a scrape each minute."""

PREEMPTIONS_PER_REQUEST = 0.1
"""Preemptions per finished request above which users notice the repeated work."""

INFERENCE = (
    "/v1/(chat/completions(/batch)?|completions|embeddings|responses|messages|audio/(transcriptions|translations))"
    "|(/v[12])?/rerank|(/v1)?/score|/classify|/pooling|/invocations|/generative_scoring|/inference/v1/generate"
)
"""Pattern of the handlers that need the engine."""

RESERVED_LABELS = frozenset({"alertname", "namespace", "pod", "engine", "vllmserver", "slo", "window"})
"""Labels that distinguish alerts; with a fixed value the results of a rule would be equal, and Prometheus fails it."""

_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class AlertSubject:
    """The server that an alert is about, and its series."""

    server: VLLMServer
    series: ServerSeries

    @property
    def limits(self) -> Alerts:
        """Return the limits and labels of the spec."""
        return self.server.spec.monitoring.alerts

    @property
    def start_budget(self) -> str:
        """Return the time that a replica may take to start, as a Prometheus duration."""
        return f"{self.server.spec.health.startup_timeout_seconds + START_SLACK_SECONDS}s"

    @property
    def identity(self) -> dict[str, str]:
        """Return the labels that identify the server."""
        return {"namespace": self.server.namespace, "vllmserver": self.server.name}

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of each alert; those of the spec may replace the severity, never the identity.

        Raises:
            InvalidSpecError: a label is reserved or is not valid in Prometheus.
        """
        return {**_checked_labels(self.limits.labels), **self.identity}


def alert_subject(server: VLLMServer) -> AlertSubject:
    """Return the subject of all alerts of a server."""
    return AlertSubject(server, server_series(server))


def replicas_serving(subject: AlertSubject) -> RecordingRulePlan:
    """Count replicas by a metric of vLLM: `up` may also come from a sidecar of a replica that has ended."""
    running = subject.series(subject.series.names.running)
    return RecordingRulePlan(
        name=SERVING, expr=f"count(count by (pod) ({running})) or vector(0)", labels=subject.identity
    )


def no_replica_available(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for a server without a serving replica; it needs the recorded series of `replicas_serving`.

    It does not fire while a new server starts for the first time, until `start_budget` has passed.
    """
    serving = f'{SERVING}{{namespace="{subject.server.namespace}",vllmserver="{subject.server.name}"}}'
    return AlertTemplate(
        "VLLMNoReplicaAvailable",
        f"{serving} == 0\n"
        "and (\n"
        f"  max_over_time({serving}[{subject.start_budget}]) > 0\n"
        f"  or {serving} offset {subject.start_budget} >= 0\n"
        ")",
        wait="5m",
        severity="critical",
        summary="no replica serves",
        description="No replica has answered for five minutes: every request fails.",
    )


def replica_down(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for a replica that is down for longer than a start takes: while it loads, its port is closed."""
    return AlertTemplate(
        "VLLMReplicaDown",
        f"min by (namespace, pod) ({subject.series('up')}) == 0\n"
        f"unless on (namespace, pod) count by (namespace, pod) ({subject.series(subject.series.names.running)})",
        wait=subject.start_budget,
        severity="warning",
        summary="a replica does not come up",
        description="{{ $labels.pod }} has not answered for longer than a start may take.",
    )


def engine_stalled(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for an engine that has requests and makes no progress.

    Progress is also a prompt, or a cache that fills: a long prompt moves no token counter until its end. An engine that
    stalled while idle still reports that it has no requests; those that its clients cancel count as 2xx. An engine that
    sleeps (`/sleep`) makes no progress on purpose.
    """
    series, names = subject.series, subject.series.names
    ended = requests_in(series, 'method="POST"', 'status="2xx"', f'handler=~"{INFERENCE}"', by="namespace, pod")
    asleep = series(SLEEP_STATE, 'sleep_state="awake"') + " == 0"
    return AlertTemplate(
        "VLLMEngineStalled",
        "max by (namespace, pod, engine) (\n"
        f"  ({series(names.running)} + {series(names.waiting)} > 0)\n"
        f"  and increase({series(names.generation_tokens)}[5m]) == 0\n"
        f"  and increase({series(names.prompt_tokens)}[5m]) == 0\n"
        f"  and changes({series(names.kv_cache)}[5m]) == 0\n"
        f"  unless on (namespace, pod, engine) {asleep}\n"
        ")\n"
        "or on (namespace, pod) (\n"
        f"  {ended} > 0\n"
        f"  and sum by (namespace, pod) (increase({series(names.generation_tokens)}[5m])) == 0\n"
        f"  and sum by (namespace, pod) (increase({series(names.prompt_tokens)}[5m])) == 0\n"
        f"  and sum by (namespace, pod) (changes({series(names.kv_cache)}[5m])) == 0\n"
        f"  unless on (namespace, pod) {asleep}\n"
        ")",
        wait="2m",
        severity="critical",
        summary="an engine stands still",
        description="{{ $labels.pod }} was asked for tokens and has processed none for five minutes.",
    )


def high_error_rate(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for failing requests: POST only, for probes and lists of models are GET and lower the share."""
    failed = requests_in(subject.series, 'method="POST"', 'status="5xx"')
    requests = requests_in(subject.series, 'method="POST"')
    return AlertTemplate(
        "VLLMHighErrorRate",
        f"{failed}\n/\n{requests}\n> {number(subject.limits.error_ratio)}\nand {failed} >= {MIN_FAILURES + 1}",
        wait="2m",
        severity="critical",
        summary="requests fail",
        description="{{ $value | humanizePercentage }} of the requests end in a server error "
        f"(limit {percent(subject.limits.error_ratio)}).",
    )


def high_latency(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for the 99th percentile of all replicas together: the buckets are summed first."""
    limit = number(subject.limits.p99_latency_seconds)
    buckets = subject.series(f"{subject.series.names.latency}_bucket")
    return AlertTemplate(
        "VLLMHighLatency",
        f"histogram_quantile(0.99, sum by (le) (rate({buckets}[5m]))) > {limit}",
        wait="5m",
        severity="warning",
        summary="requests take long",
        description=f"The slowest 1% of requests take {{{{ $value | humanizeDuration }}}} or more (limit {limit} s).",
    )


def queue_backlog(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for the longest queue of a replica: ten replicas with ten requests each are fine.

    The inner max counts a replica once that two jobs scrape; the sum is over its data-parallel engines.
    """
    waiting = subject.series(subject.series.names.waiting)
    return AlertTemplate(
        "VLLMQueueBacklog",
        f"max(sum by (pod) (max by (pod, engine) ({waiting}))) > {subject.limits.queue_length}",
        wait="2m",
        severity="warning",
        summary="requests queue up",
        description=f"{{{{ $value }}}} requests wait at one replica (limit {subject.limits.queue_length}).",
    )


def kv_cache_nearly_full(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for a full KV cache (a fraction, 1 is full); the average fires for a cache that hovers, too."""
    usage = subject.series(subject.series.names.kv_cache)
    return AlertTemplate(
        "VLLMKVCacheNearlyFull",
        f"max by (namespace, pod) (avg_over_time({usage}[5m])) > {number(subject.limits.kv_cache_usage)}",
        wait="5m",
        severity="warning",
        summary="the KV cache is nearly full",
        description="{{ $labels.pod }} uses {{ $value | humanizePercentage }} of its KV cache "
        f"(limit {percent(subject.limits.kv_cache_usage)}).",
    )


def preemptions(subject: AlertSubject) -> AlertTemplate:
    """Return the alert for preemptions per finished request: a preempted one is computed again from its start."""
    preempted, finished = (
        subject.series(subject.series.names.preemptions),
        subject.series(subject.series.names.finished),
    )
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
"""Alerts about series that exist; they stay silent where nothing scrapes."""


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
