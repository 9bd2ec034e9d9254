"""What a PrometheusRule holds, whomever its alerts speak about: a server (`alerts`), or the operator itself."""

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
    """An alerting rule; `wait` is its `for`, in Prometheus' notation."""

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
    """An alert in its own words, before they are said about somebody."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str

    def rule_for(self, subject: str, labels: dict[str, str], runbooks: str) -> AlertingRulePlan:
        """The rule about one subject.

        Args:
            subject: who is in trouble; opens the summary.
            labels: what names it; they may change the severity.
            runbooks: URL of the runbooks, `%s` for the alert; empty for no link: a wrong one is worse at night.
        """
        annotations = {"summary": f"{subject}: {self.summary}", "description": self.description}
        if runbooks:
            annotations["runbook_url"] = runbooks.replace("%s", self.name)
        return AlertingRulePlan(self.name, self.expr, self.wait, {"severity": self.severity, **labels}, annotations)
