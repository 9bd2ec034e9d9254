"""Rollouts that fail for sure, and those that may still succeed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.pods import pod
from tests.helpers.status_inputs import inputs
from vllm_operator.status.assessment import Assessment, assess
from vllm_operator.status.rollback import rollout_failure


def assessment(
    phase: Any = "CrashLooping", *, revision: str = "new", wanted: str = "new", **changes: Any
) -> Assessment:
    """A server whose rollout has one replica in a phase."""
    found = assess(inputs(pod("mistral-a")))
    fields = {"ended": False, "permanent": False, **{k: v for k, v in changes.items() if k in {"ended", "permanent"}}}
    replica = replace(found.replicas[0], phase=phase, revision=revision, headline="it crashed", **fields)
    state = {"complete": False, "observed": True, "stuck": False, "revision": wanted}
    state |= {k: v for k, v in changes.items() if k in {"complete", "observed", "stuck", "exists"}}
    return replace(found, replicas=(replica,), rollout=replace(found.rollout, **state))


def test_crash_loop_of_the_new_revision_is_a_failure() -> None:
    assert rollout_failure(assessment()) == "mistral-a: it crashed"
    assert rollout_failure(assessment("Failed", permanent=True))


def test_rollout_at_its_deadline_is_a_failure() -> None:
    assert "deadline" in rollout_failure(assessment("Loading", stuck=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"phase": "Loading"},
        {"phase": "Failed"},
        {"revision": "old"},
        {"ended": True},
        {"complete": True},
        {"observed": False},
        {"exists": False},
        {"wanted": "", "revision": ""},
    ],
    ids=str,
)
def test_rollout_that_may_succeed_is_no_failure(changes: dict[str, Any]) -> None:
    assert rollout_failure(assessment(**changes)) == ""


def test_replicas_that_serve_worse_are_a_failure_also_when_all_are_new() -> None:
    assert rollout_failure(assessment("Serving"), "12 of 40 failed") == "12 of 40 failed"
    assert rollout_failure(assessment("Serving", complete=True), "12 of 40 failed") == "12 of 40 failed"
    assert rollout_failure(assessment("Serving", exists=False), "12 of 40 failed") == ""
    assert rollout_failure(assessment("Serving", observed=False), "12 of 40 failed") == ""
