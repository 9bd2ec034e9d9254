"""Recording rules and burn-rate alerts of `spec.monitoring.slo`. Runbooks: docs/runbooks/.

The rules follow chapter 5 of Google's Site Reliability Workbook: an alert needs a long window, which shows that it
matters, and a short one, which ends it soon after the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_operator.api.objectives import LatencyObjective, ServiceLevelObjectives
from vllm_operator.desired.alerts import INFERENCE, MIN_FAILURES, AlertSubject
from vllm_operator.desired.prometheus_rule import AlertTemplate, RecordingRulePlan
from vllm_operator.desired.promql import WINDOW_SECONDS, number, percent, requests_in

INTERVAL_SECONDS = 30
"""Seconds between two evaluations of the rules. Sums of a recorded rate, times this, are numbers of requests."""

REQUESTS, ERRORS = "vllmserver:slo_requests:rate5m", "vllmserver:slo_errors:rate5m"
"""Recorded for each objective: requests a second, and those of them that missed the objective."""

OBJECTIVE = "vllmserver:slo_objective:ratio"
"""Recorded for each objective: the fraction that the spec asks for, for dashboards."""


@dataclass(frozen=True)
class BurnRate:
    """A speed at which the error budget must not be spent.

    Attributes:
        alert: name of its alert.
        share: share of the budget that is spent in the long window when the alert fires.
        long: long window, as a Prometheus duration.
        hours: the same in hours.
        short: short window.
        wait: time for which the condition must hold.
        severity: default of the label `severity`.
    """

    alert: str
    share: float
    long: str
    hours: int
    short: str
    wait: str
    severity: str

    def factor(self, window_days: int) -> float:
        """Return the multiple of the speed that spends the budget in exactly the days it is meant for."""
        return self.share * window_days * 24 / self.hours


FAST, SLOW = "VLLMErrorBudgetBurnFast", "VLLMErrorBudgetBurnSlow"
BURN_RATES = (
    BurnRate(FAST, 0.02, "1h", 1, "5m", "1m", "critical"),
    BurnRate(FAST, 0.05, "6h", 6, "30m", "1m", "critical"),
    BurnRate(SLOW, 0.10, "3d", 72, "6h", "15m", "warning"),
)
"""With a budget for 30 days: 14.4 over 1 h and 5 m, 6 over 6 h and 30 m, 1 over 3 d and 6 h."""

WINDOWS = ("30m", "1h", "6h", "3d")
"""Windows of the recorded ratios, next to that of 5 minutes."""


@dataclass(frozen=True)
class Indicator:
    """An objective, and what it counts.

    Attributes:
        name: field of the objective in the spec, and value of the label `slo`.
        objective: fraction of good requests.
        requests: expression of requests a second.
        errors: expression of those that missed the objective.
        missed: what these requests did, for texts.
    """

    name: str
    objective: float
    requests: str
    errors: str
    missed: str

    @property
    def budget(self) -> float:
        """Return the fraction of requests that may miss the objective."""
        return 1 - self.objective


def indicators(subject: AlertSubject) -> tuple[Indicator, ...]:
    """Return the objectives of a server, in the order of the spec."""
    return tuple(_indicators(subject, subject.server.spec.monitoring.slo or ServiceLevelObjectives()))


def _indicators(subject: AlertSubject, slo: ServiceLevelObjectives) -> Iterator[Indicator]:
    names = subject.series.names
    if slo.availability:
        answered = ('method="POST"', f'handler=~"{INFERENCE}"')
        requests = requests_in(subject.series, *answered, 'status=~"2xx|5xx"')
        failed = requests_in(subject.series, *answered, 'status="5xx"')
        yield Indicator(
            "availability",
            slo.availability.objective,
            f"{requests} / {WINDOW_SECONDS}",
            f"({failed} or vector(0)) / {WINDOW_SECONDS}",
            "ended in a server error",
        )
    histograms: tuple[tuple[str, LatencyObjective | None, str, str], ...] = (
        ("timeToFirstToken", slo.time_to_first_token, names.first_token, "had to wait for the first token for"),
        ("timePerOutputToken", slo.time_per_output_token, names.output_token, "took, for each token,"),
        ("latency", slo.latency, names.latency, "took"),
    )
    for name, wanted, histogram, verb in histograms:
        if wanted:
            threshold = wanted.threshold_seconds
            requests = _rate(subject.series(f"{histogram}_count"))
            # Prometheus 2 stores the bound as vLLM writes it (1.0); collectors of OpenTelemetry write 1.
            bound = number(threshold).replace(".", "[.]") if threshold % 1 else f"{threshold:.0f}([.]0)?"
            good = _rate(subject.series(f"{histogram}_bucket", f'le=~"{bound}"'))
            errors = f"clamp_min({requests} - {good}, 0)"
            yield Indicator(name, wanted.objective, requests, errors, f"{verb} more than {number(threshold)} s")


def _rate(selector: str) -> str:
    """Return the rate of a histogram's series, once for each engine."""
    return f"sum(max by (pod, engine) (rate({selector}[5m])))"


def records(subject: AlertSubject) -> list[RecordingRulePlan]:
    """Return the recording rules of all objectives: rates from vLLM's series, all else from these rates.

    A ratio is missing while there are no requests. It weighs each request alike, however they are spread over a window.
    """
    return [rule for indicator in indicators(subject) for rule in _records_of(subject, indicator)]


def _records_of(subject: AlertSubject, indicator: Indicator) -> Iterator[RecordingRulePlan]:
    labels = {**subject.identity, "slo": indicator.name}
    yield RecordingRulePlan(OBJECTIVE, f"vector({number(indicator.objective)})", labels)
    yield RecordingRulePlan(REQUESTS, indicator.requests, labels)
    yield RecordingRulePlan(ERRORS, indicator.errors, labels)
    errors, requests = (_recorded(subject, indicator, name) for name in (ERRORS, REQUESTS))
    yield RecordingRulePlan(ratio("5m"), f"{errors} / ({requests} > 0)", labels)
    for window in WINDOWS:
        expr = f"sum_over_time({errors}[{window}]) / (sum_over_time({requests}[{window}]) > 0)"
        yield RecordingRulePlan(ratio(window), expr, labels)


def ratio(window: str) -> str:
    """Return the name of the recorded ratio of errors in a window."""
    return f"vllmserver:slo_errors_per_request:ratio_rate{window}"


def _recorded(subject: AlertSubject, indicator: Indicator, name: str) -> str:
    identity = {**subject.identity, "slo": indicator.name}
    matchers = ",".join(f'{key}="{value}"' for key, value in identity.items())
    return f"{name}{{{matchers}}}"


def alerts(subject: AlertSubject) -> list[AlertTemplate]:
    """Return the burn-rate alerts of all objectives; none where the spec leaves them to others."""
    slo = subject.server.spec.monitoring.slo
    if slo is None or not slo.alerts:
        return []
    return [
        _alert(subject, indicator, burn, slo)
        for indicator in indicators(subject)
        for burn in BURN_RATES
        if can_fire(indicator.objective, burn, slo.window_days)
    ]


def can_fire(objective: float, burn: BurnRate, window_days: int) -> bool:
    """Return whether the alert fires at least when every request misses: 14.4 times a budget of 10 % is above 1."""
    return (1 - objective) * burn.factor(window_days) < 1


def _alert(subject: AlertSubject, indicator: Indicator, burn: BurnRate, slo: ServiceLevelObjectives) -> AlertTemplate:
    limit = indicator.budget * burn.factor(slo.window_days)
    long, short, errors, requests = (
        _recorded(subject, indicator, name) for name in (ratio(burn.long), ratio(burn.short), ERRORS, REQUESTS)
    )
    return AlertTemplate(
        burn.alert,
        f"{long} > {number(limit)}\n"
        f"and {short} > {number(limit)}\n"
        f"and sum_over_time({requests}[{burn.long}]) * {INTERVAL_SECONDS} >= {slo.min_requests}\n"
        f"and sum_over_time({errors}[{burn.long}]) * {INTERVAL_SECONDS} >= {MIN_FAILURES + 1}",
        wait=burn.wait,
        severity=burn.severity,
        summary=f"the error budget of {indicator.name} runs out",
        description=f"{{{{ $value | humanizePercentage }}}} of the requests of {burn.long} {indicator.missed}; "
        f"the objective allows {percent(indicator.budget)}, the alert {percent(limit)} "
        f"({number(burn.factor(slo.window_days))} times as fast as its {slo.window_days} days allow).",
        labels={"slo": indicator.name, "window": burn.long},
    )
