"""An alert about a subject."""

from __future__ import annotations

from vllm_operator.desired.prometheus_rule import AlertTemplate

TEMPLATE = AlertTemplate("VLLMQueueBacklog", "x > 1", "5m", "warning", "requests queue up", "Too many requests wait.")


def test_summary_starts_with_the_subject() -> None:
    rule = TEMPLATE.rule_for("VLLMServer llm/mistral", {"vllmserver": "mistral"}, "")

    assert (rule.name, rule.expr, rule.wait) == ("VLLMQueueBacklog", "x > 1", "5m")
    assert rule.annotations == {
        "summary": "VLLMServer llm/mistral: requests queue up",
        "description": "Too many requests wait.",
    }
    assert rule.labels == {"severity": "warning", "vllmserver": "mistral"}


def test_labels_may_replace_the_severity() -> None:
    assert TEMPLATE.rule_for("x", {"severity": "page"}, "").labels == {"severity": "page"}


def test_runbook_has_the_name_of_the_alert() -> None:
    rule = TEMPLATE.rule_for("x", {}, "https://wiki.example/%s.md")

    assert rule.annotations["runbook_url"] == "https://wiki.example/VLLMQueueBacklog.md"
