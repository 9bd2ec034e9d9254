"""Start and stop of a replica: no request is lost, and no start is given up too early."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import children, container, pod_template

BUDGETS = st.integers(30, 86_400)
DRAINS = st.integers(0, 86_400)


@given(DRAINS)
def test_grace_period_outlasts_the_drain_timeout_which_bounds_the_whole_stop(drain: int) -> None:
    fields = {"rollout": {"drainTimeoutSeconds": drain}}
    hook = container(**fields)["lifecycle"]["preStop"]["httpGet"]

    assert hook["path"].endswith(f"timeout={drain}")
    assert drain < pod_template(**fields)["spec"]["terminationGracePeriodSeconds"] <= drain + 10


@given(DRAINS)
def test_grace_period_outlasts_pause_and_drain_of_an_unknown_vllm(drain: int) -> None:
    fields = {"rollout": {"drainTimeoutSeconds": drain}, "image": "registry.example/vllm:ours"}
    pause = container(**fields)["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod_template(**fields)["spec"]["terminationGracePeriodSeconds"] > pause + drain


@given(BUDGETS)
def test_progress_deadline_outlasts_the_start(budget: int) -> None:
    deployment = children(health={"startupTimeoutSeconds": budget})["Deployment"]["spec"]

    assert deployment["progressDeadlineSeconds"] > budget


@given(BUDGETS)
def test_startup_probe_lasts_the_budget_and_hardly_longer(budget: int) -> None:
    probe = container(health={"startupTimeoutSeconds": budget})["startupProbe"]
    lasts = probe["failureThreshold"] * probe["periodSeconds"]

    assert budget <= lasts < budget + probe["periodSeconds"]


@given(DRAINS)
def test_drain_timeout_is_passed_to_vllm(drain: int) -> None:
    arguments = container(rollout={"drainTimeoutSeconds": drain})["args"]

    assert arguments[arguments.index("--shutdown-timeout") + 1] == str(drain)


def strategy(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = children(**fields)["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    return found


def test_no_spare_gpu_is_asked_for() -> None:
    assert strategy() == {"maxSurge": 0, "maxUnavailable": 1}


def test_percentages_are_passed_on() -> None:
    assert strategy(rollout={"maxSurge": "25%", "maxUnavailable": "0%"}) == {"maxSurge": "25%", "maxUnavailable": "0%"}


def test_no_probe_guesses_a_delay() -> None:
    probes = [container()[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]

    assert [probe for probe in probes if "initialDelaySeconds" in probe] == []
    assert {probe["httpGet"]["path"] for probe in probes} == {"/health"}


def test_liveness_is_slower_than_readiness() -> None:
    """A busy engine leaves the Service before it is restarted."""
    ready, alive = container()["readinessProbe"], container()["livenessProbe"]

    assert alive["periodSeconds"] * alive["failureThreshold"] > ready["periodSeconds"] * ready["failureThreshold"]
