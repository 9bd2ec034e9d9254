"""The alert rules of the operator itself: docs/reference/metrics.md, docs/runbooks/."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.desired.prometheus_rule import AlertTemplate, PrometheusRulePlan

QUEUE_SECONDS = 300
"""A server that has waited so long for its pass is served by nobody: passes take milliseconds, and 32 run at once."""

ERROR_SHARE = 0.1
"""Share of calls that the API server fails; one in ten is beyond what a restart of it makes in a quarter of an hour."""

FAILED_CODES = "5..|429|none"
"""Overloaded, broken, or no answer. Refusals (403, 409, 422) are about one object, and its status tells them."""


@dataclass(frozen=True)
class OperatorSubject:
    """The operator that the alerts speak about.

    Attributes:
        name: of its objects.
        namespace: where it runs; its series carry it as a label.
        runbooks: URL of the runbooks, `%s` for the alert; empty for no links.
    """

    name: str
    namespace: str
    runbooks: str = ""

    def series(self, name: str, *matchers: str) -> str:
        """A series of this operator."""
        own = ",".join((f'namespace="{self.namespace}"', *matchers))
        return f"vllm_operator_{name}{{{own}}}"


def operator_rule_plan(operator: OperatorSubject) -> PrometheusRulePlan:
    """The PrometheusRule of an operator that is scraped."""
    name, labels = f"vllm-operator in {operator.namespace}", {"namespace": operator.namespace}
    alerts = [alert(operator).rule_for(name, labels, operator.runbooks) for alert in OPERATOR_ALERTS]
    return PrometheusRulePlan(operator.name, "vllm-operator", [], alerts)


def down(o: OperatorSubject) -> AlertTemplate:
    """No series at all: also when nobody scrapes it, which has to be mended, too."""
    return AlertTemplate(
        "VLLMOperatorDown",
        f"absent({o.series('build_info')})",
        wait="5m",
        severity="critical",
        summary="it is not there",
        description="Prometheus has scraped no operator for five minutes. Replicas go on serving; nothing is repaired, "
        "and the status of VLLMServers is old.",
    )


def no_leader(o: OperatorSubject) -> AlertTemplate:
    """A failover takes less than 20 s. Silent without series: that is `down`."""
    return AlertTemplate(
        "VLLMOperatorNoLeader",
        f"max by (namespace) ({o.series('leader')}) == 0",
        wait="5m",
        severity="critical",
        summary="no process leads",
        description="Operators run, but for five minutes none has held the Lease: nothing is written.",
    )


def reconciles_failing(o: OperatorSubject) -> AlertTemplate:
    """What fails is tried again at least once a minute: where some are counted all the time, no retry helps."""
    return AlertTemplate(
        "VLLMOperatorPassesFailing",
        f"max by (namespace) ({o.series('servers_failing')}) > 0",
        wait="15m",
        severity="warning",
        summary="passes fail",
        description="{{ $value }} VLLMServers are not brought to what they ask for: the operator's log names them.",
    )


def queue_stuck(o: OperatorSubject) -> AlertTemplate:
    """On a standby the queue waits for the Lease, and its age says nothing."""
    return AlertTemplate(
        "VLLMOperatorQueueStuck",
        f"max by (namespace) ({o.series('queue_age_seconds')} and on (namespace, pod) {o.series('leader')} == 1)"
        f" > {QUEUE_SECONDS}",
        wait="1m",
        severity="warning",
        summary="servers wait for their turn",
        description="A VLLMServer has waited for {{ $value | humanizeDuration }} to be looked at.",
    )


def api_errors(o: OperatorSubject) -> AlertTemplate:
    """A share, since the number of calls grows with the servers; at rest the Lease alone makes some each minute."""
    failed = o.series("api_requests_total", f'code=~"{FAILED_CODES}"')
    return AlertTemplate(
        "VLLMOperatorApiErrors",
        f"sum by (namespace) (rate({failed}[5m])) / sum by (namespace) (rate({o.series('api_requests_total')}[5m]))"
        f" > {ERROR_SHARE}",
        wait="15m",
        severity="warning",
        summary="calls to the API server fail",
        description="{{ $value | humanizePercentage }} of its calls get an error of the API server, or no answer.",
    )


def credentials_refused(o: OperatorSubject) -> AlertTemplate:
    """One 401 is how an expired token is noticed and read again; only what goes on is trouble."""
    refused = o.series("api_requests_total", 'code="401"')
    return AlertTemplate(
        "VLLMOperatorCredentialsRefused",
        f"sum by (namespace) (rate({refused}[5m])) > 0",
        wait="10m",
        severity="critical",
        summary="its credentials are refused",
        description="The API server has answered 401 for ten minutes: the operator can neither read nor write.",
    )


OPERATOR_ALERTS = (down, no_leader, reconciles_failing, queue_stuck, api_errors, credentials_refused)
