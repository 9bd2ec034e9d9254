"""The desired state: worked out once per generation, and a problem where it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.desired import state
from vllm_operator.desired.state import DesiredState, DesiredStateCache, desired_state
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


def test_refused_manifest_still_says_what_it_refers_to() -> None:
    found = of(engine={"extraArgs": ["--port=1"]}, security={"apiKeySecretRef": {"name": "keys"}})

    assert [reference.name for reference in found.references] == ["keys"]


class Counted:
    """Counts how often a desired state is worked out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.states = DesiredStateCache()
        monkeypatch.setattr(state, "desired_state", self._work_out)

    def _work_out(self, *arguments: Any) -> DesiredState:
        self.times += 1
        return desired_state(*arguments)

    def get(self, one: dict[str, Any], installed: frozenset[str] = NONE, key: str = "a") -> DesiredState:
        return self.states.get(key, one, installed)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_unchanged_server_is_not_worked_out_again(counted: Counted) -> None:
    first = counted.get(body())
    touched = body()
    touched["metadata"].update(resourceVersion="2", labels={"a": "b"})
    touched["status"] = {"phase": "Serving"}

    assert counted.get(touched) is first
    assert counted.times == 1


@pytest.mark.parametrize(
    "change",
    [
        {"one": body(generation=2)},
        {"one": body(uid="another")},
        {"installed": MONITORING_KINDS},
        {"key": "b"},
    ],
    ids=["generation", "uid", "installed kinds", "server"],
)
def test_what_it_depends_on_makes_it_anew(counted: Counted, change: dict[str, Any]) -> None:
    counted.get(body())
    counted.get(**{"one": body(), **change})

    assert counted.times == 2


def test_alerts_link_to_the_runbooks_that_the_operator_was_told_of() -> None:
    states = DesiredStateCache("https://wiki.example/%s.md")
    found = states.get("llm/mistral", body(), MONITORING_KINDS)
    (rule,) = [manifest.body for manifest in found.manifests if manifest.kind == "PrometheusRule"]
    alerts = [entry for entry in rule["spec"]["groups"][0]["rules"] if "alert" in entry]
    assert alerts
    assert all(entry["annotations"]["runbook_url"] == f"https://wiki.example/{entry['alert']}.md" for entry in alerts)


def test_server_that_is_gone_is_forgotten(counted: Counted) -> None:
    counted.get(body())
    counted.states.forget("a")
    counted.states.forget("never seen")
    counted.get(body())

    assert counted.times == 2


def test_servers_do_not_push_each_other_out(counted: Counted) -> None:
    for _ in range(2):
        counted.get(body("a"), key="a")
        counted.get(body("b"), key="b")

    assert counted.times == 2
