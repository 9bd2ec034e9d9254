"""The alerts about the operator itself: docs/reference/metrics.md, docs/runbooks/."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.desired.prometheus_rule import AlertTemplate, PrometheusRulePlan, RuleGroupPlan

QUEUE_SECONDS = 300
"""Seconds that a key may wait in the work queue: a reconcile takes milliseconds, and 32 run at once."""

ERROR_SHARE = 0.1
"""Share of failed API calls; a restart of the API server makes fewer than one in ten in a quarter of an hour."""

FAILED_CODES = "5..|429|none"
"""Pattern of codes: overloaded, broken, no answer. A refusal (403, 409, 422) concerns one object; see its status."""


@dataclass(frozen=True)
class OperatorSubject:
    """The operator that the alerts are about.

    Attributes:
        name: name of its objects.
        namespace: namespace that it runs in, which is a label of its series.
        runbooks: URL of the runbooks, `%s` for the alert; empty for no links.
    """

    name: str
    namespace: str
    runbooks: str = ""

    def series(self, name: str, *matchers: str) -> str:
        """Return the selector of one of its series, with further matchers such as `code="401"`."""
        own = ",".join((f'namespace="{self.namespace}"', *matchers))
        return f"vllm_operator_{name}{{{own}}}"


def operator_rule_plan(operator: OperatorSubject) -> PrometheusRulePlan:
    """Return the PrometheusRule of an operator."""
    name, labels = f"vllm-operator in {operator.namespace}", {"namespace": operator.namespace}
    alerts = [alert(operator).rule_for(name, labels, operator.runbooks) for alert in OPERATOR_ALERTS]
    return PrometheusRulePlan(operator.name, [RuleGroupPlan("vllm-operator", [], alerts)])


def down(operator: OperatorSubject) -> AlertTemplate:
    """Return the alert for an operator without series: it is down, or Prometheus does not scrape it."""
    return AlertTemplate(
        "VLLMOperatorDown",
        f"absent({operator.series('build_info')})",
        wait="5m",
        severity="critical",
        summary="it is not there",
        description="Prometheus has scraped no operator for five minutes. Replicas go on serving; nothing is repaired, "
        "and the status of VLLMServers is old.",
    )


def no_leader(operator: OperatorSubject) -> AlertTemplate:
    """Return the alert for a missing leader; a failover takes less than 20 s. Without series `down` fires instead."""
    return AlertTemplate(
        "VLLMOperatorNoLeader",
        f"max by (namespace) ({operator.series('leader')}) == 0",
        wait="5m",
        severity="critical",
        summary="no process leads",
        description="Operators run, but for five minutes none has held the Lease: nothing is written.",
    )


def reconciles_failing(operator: OperatorSubject) -> AlertTemplate:
    """Return the alert for servers that keep failing: they are retried once a minute or more often, without success."""
    return AlertTemplate(
        "VLLMOperatorPassesFailing",
        f"max by (namespace) ({operator.series('servers_failing')}) > 0",
        wait="15m",
        severity="warning",
        summary="passes fail",
        description="{{ $value }} VLLMServers are not brought to what they ask for: the operator's log names them.",
    )


def queue_stuck(operator: OperatorSubject) -> AlertTemplate:
    """Return the alert for an old work queue of the leader; that of a standby waits for the Lease."""
    return AlertTemplate(
        "VLLMOperatorQueueStuck",
        f"max by (namespace) ({operator.series('queue_age_seconds')} and on (namespace, pod) "
        f"{operator.series('leader')} == 1) > {QUEUE_SECONDS}",
        wait="1m",
        severity="warning",
        summary="servers wait for their turn",
        description="A VLLMServer has waited for {{ $value | humanizeDuration }} to be looked at.",
    )


def api_errors(operator: OperatorSubject) -> AlertTemplate:
    """Return the alert for failing API calls: a share, since their number grows with that of the servers."""
    failed = operator.series("api_requests_total", f'code=~"{FAILED_CODES}"')
    return AlertTemplate(
        "VLLMOperatorApiErrors",
        f"sum by (namespace) (rate({failed}[5m])) / sum by (namespace) "
        f"(rate({operator.series('api_requests_total')}[5m])) > {ERROR_SHARE}",
        wait="15m",
        severity="warning",
        summary="calls to the API server fail",
        description="{{ $value | humanizePercentage }} of its calls get an error of the API server, or no answer.",
    )


def credentials_refused(operator: OperatorSubject) -> AlertTemplate:
    """Return the alert for refused credentials that last; a single 401 only shows that a token expired."""
    refused = operator.series("api_requests_total", 'code="401"')
    return AlertTemplate(
        "VLLMOperatorCredentialsRefused",
        f"sum by (namespace) (rate({refused}[5m])) > 0",
        wait="10m",
        severity="critical",
        summary="its credentials are refused",
        description="The API server has answered 401 for ten minutes: the operator can neither read nor write.",
    )


OPERATOR_ALERTS = (down, no_leader, reconciles_failing, queue_stuck, api_errors, credentials_refused)
