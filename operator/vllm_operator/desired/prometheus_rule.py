"""The content of a PrometheusRule, for alerts about a server (`alerts`) and about the operator (`install.alerts`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecordingRulePlan:
    """A recording rule."""

    name: str
    expr: str
    labels: dict[str, str]


@dataclass(frozen=True)
class AlertingRulePlan:
    """An alerting rule; `wait` is its `for`, as a Prometheus duration."""

    name: str
    expr: str
    wait: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True)
class PrometheusRulePlan:
    """A PrometheusRule with one group."""

    name: str
    group: str
    records: list[RecordingRulePlan]
    alerts: list[AlertingRulePlan]


@dataclass(frozen=True)
class AlertTemplate:
    """An alert before its subject is known.

    Attributes:
        name: name of the alert.
        expr: expression in PromQL.
        wait: time for which the expression must hold, as a Prometheus duration.
        severity: default of the label `severity`.
        summary: the problem, without its subject.
        description: the problem in full.
    """

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str

    def rule_for(self, subject: str, labels: dict[str, str], runbooks: str) -> AlertingRulePlan:
        """Return the rule about one subject.

        Args:
            subject: name of the server or operator with which the summary starts.
            labels: labels that identify it; they may replace the severity.
            runbooks: URL of the runbooks, `%s` for the alert; empty for no link.
        """
        annotations = {"summary": f"{subject}: {self.summary}", "description": self.description}
        if runbooks:
            annotations["runbook_url"] = runbooks.replace("%s", self.name)
        return AlertingRulePlan(self.name, self.expr, self.wait, {"severity": self.severity, **labels}, annotations)
