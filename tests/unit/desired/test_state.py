"""The desired state of a server, and the problems of a spec that has none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.kube.kinds import MONITORING_KINDS

NONE: frozenset[str] = frozenset()


def of(**spec: Any) -> DesiredState:
    return desired_state(body(**spec), NONE)


def test_accepted_manifest_has_children() -> None:
    found = of()

    assert (found.problems, found.warnings) == ((), ())
    assert found.served_names == ("Mistral-7B-Instruct-v0.3",)
    assert [manifest.kind for manifest in found.manifests] == ["Service", "Deployment"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"engine": {"maxModelLen": 0}}, "spec.engine.maxModelLen"),
        ({"engine": {"extraArgs": ["--port=1"]}}, "spec.engine.extraArgs[0]"),
        ({"engine": {"extraArgs": ["-tp=two"]}}, "spec.engine.extraArgs[0]"),
        ({"podTemplate": {"spec": {"containers": [{"image": "x"}]}}}, "spec.podTemplate.spec.containers[0]"),
        ({"podTemplate": {"spec": {"containers": None}}}, "spec.podTemplate.spec.containers"),
    ],
)
def test_refused_manifest_has_a_problem_and_no_children(spec: dict[str, Any], field: str) -> None:
    found = of(**spec)

    assert [problem.message.partition(": ")[0] for problem in found.problems] == [field]
    assert found.manifests == ()


def test_refused_label_of_alerts_is_a_problem() -> None:
    found = desired_state(body(monitoring={"alerts": {"labels": {"a-b": "x"}}}), MONITORING_KINDS)

    assert found.problems[0].message.startswith("spec.monitoring.alerts.labels: ")


def test_refused_spec_keeps_its_references() -> None:
    found = of(engine={"extraArgs": ["--port=1"]}, security={"apiKeySecretRef": {"name": "keys"}})

    assert [reference.name for reference in found.references] == ["keys"]


def test_alerts_link_to_the_runbooks_of_the_operator_settings() -> None:
    found = desired_state(body(), MONITORING_KINDS, "https://wiki.example/%s.md")
    (rule,) = [manifest.body for manifest in found.manifests if manifest.kind == "PrometheusRule"]
    alerts = [entry for entry in rule["spec"]["groups"][0]["rules"] if "alert" in entry]
    assert alerts
    assert all(entry["annotations"]["runbook_url"] == f"https://wiki.example/{entry['alert']}.md" for entry in alerts)
