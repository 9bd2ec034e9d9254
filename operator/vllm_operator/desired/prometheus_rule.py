"""The content of a PrometheusRule, for alerts about a server (`alerts`) and about the operator (`install.alerts`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
class RuleGroupPlan:
    """Rules that Prometheus evaluates one after the other.

    Attributes:
        name: name of the group, unique in its PrometheusRule.
        records: recording rules, which come first.
        alerts: alerting rules.
        interval: time between two evaluations, as a Prometheus duration; None for that of Prometheus.
    """

    name: str
    records: list[RecordingRulePlan]
    alerts: list[AlertingRulePlan]
    interval: str | None = None


@dataclass(frozen=True)
class PrometheusRulePlan:
    """A PrometheusRule."""

    name: str
    groups: list[RuleGroupPlan]

    @property
    def records(self) -> list[RecordingRulePlan]:
        """Return the recording rules of all groups."""
        return [record for group in self.groups for record in group.records]

    @property
    def alerts(self) -> list[AlertingRulePlan]:
        """Return the alerting rules of all groups."""
        return [alert for group in self.groups for alert in group.alerts]


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
        labels: labels that distinguish it from alerts of the same name.
    """

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)

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
        all_labels = {"severity": self.severity, **labels, **self.labels}
        return AlertingRulePlan(self.name, self.expr, self.wait, all_labels, annotations)
