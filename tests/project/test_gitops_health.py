"""Flux, Argo CD and kubectl wait agree on every status: kstatus' rules, our Lua script, kubectl's own check."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.gitops import argocd_health, kstatus, kubectl_wait_ends
from tests.helpers.pods import (
    OLD_REVISION,
    crashed_pod,
    deleted_pod,
    deployment,
    loading_pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
)
from tests.helpers.random_status_inputs import situations
from tests.helpers.status_inputs import MISSING_SECRET, REFUSED, inputs, status_of
from vllm_operator.api.crd import crd
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.inputs import StatusInputs

Json = dict[str, Any]


def server(situation: StatusInputs, **metadata: Any) -> Json:
    """The resource with the status of these facts."""
    spec = {"paused": True} if situation.paused else {}
    return {
        "metadata": {"name": "mistral", "generation": situation.generation, **metadata},
        "spec": spec,
        "status": status_of(situation),
    }


def moving(*pods: Json, stuck: bool = False, **changes: Any) -> StatusInputs:
    """Facts of a rollout of which one pod of the wanted revision exists."""
    reason = "ProgressDeadlineExceeded" if stuck else "ReplicaSetUpdated"
    counts = {"updatedReplicas": 1, "availableReplicas": len(pods) - 1, "conditions": [rolling(reason)]}
    return inputs(*pods, deployment=deployment(len(pods), **counts), **changes)


NEW = "mistral-new"
OLD = ready_pod("mistral-old", OLD_REVISION)
UNKNOWN_FLAG = termination(2, "api_server.py: error: unrecognized arguments: --no-such-flag")
LOST = {"mistral-b": ReplicaHealth("ModelNotServed", "lists no mistral-7b")}
ROWS: list[tuple[str, Json, str, str]] = [
    ("serving", server(inputs(ready_pod("a"), ready_pod("b"))), "Current", "Healthy"),
    ("scaled to zero", server(inputs(deployment=deployment(0))), "Current", "Healthy"),
    ("no Deployment yet", server(inputs(deployment=None, wanted_replicas=1)), "InProgress", "Progressing"),
    ("loading", server(moving(loading_pod(NEW), health={NEW: REFUSED})), "InProgress", "Progressing"),
    ("waiting for a GPU", server(moving(scheduling_pod(NEW))), "InProgress", "Progressing"),
    ("rolling out", server(moving(OLD, loading_pod(NEW), health={NEW: REFUSED})), "InProgress", "Progressing"),
    (
        "a replica that lost its model",
        server(inputs(ready_pod("mistral-a"), ready_pod("mistral-b"), health=LOST)),
        "InProgress",
        "Progressing",
    ),
    ("draining", server(inputs(deleted_pod("a"), wanted=1)), "InProgress", "Progressing"),
    ("crashing for a reason unknown", server(moving(crashed_pod(termination(1), NEW))), "InProgress", "Progressing"),
    ("refused", server(inputs(deployment=None, problems=(MISSING_SECRET,))), "Failed", "Degraded"),
    ("refused while it serves", server(inputs(ready_pod(), problems=(MISSING_SECRET,))), "Failed", "Degraded"),
    ("crashing for an unknown flag", server(moving(crashed_pod(UNKNOWN_FLAG, NEW))), "Failed", "Degraded"),
    (
        "older revision serves beside a broken image",
        server(moving(OLD, waiting_pod("ImagePullBackOff", "nope: not found", NEW))),
        "Failed",
        "Degraded",
    ),
    ("stuck at the deadline", server(moving(OLD, scheduling_pod(NEW), stuck=True)), "Failed", "Degraded"),
    ("paused and serving", server(inputs(ready_pod(), paused=True)), "Current", "Suspended"),
    ("paused before it began", server(inputs(deployment=None, paused=True)), "InProgress", "Suspended"),
    (
        "paused and refused",
        server(inputs(ready_pod(), paused=True, problems=(MISSING_SECRET,))),
        "Failed",
        "Degraded",
    ),
    ("a newer spec", server(inputs(ready_pod()), generation=8), "InProgress", "Progressing"),
    (
        "a newer spec after a refused one",
        server(inputs(ready_pod(), problems=(MISSING_SECRET,)), generation=8),
        "InProgress",
        "Progressing",
    ),
    (
        "deleted",
        server(inputs(ready_pod()), deletionTimestamp="2026-03-02T09:00:00Z"),
        "Terminating",
        "Progressing",
    ),
]


@pytest.mark.parametrize(("resource", "flux", "argo_cd"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_all_waiting_tools_agree(resource: Json, flux: str, argo_cd: str):
    assert (kstatus(resource), argocd_health(resource)) == (flux, argo_cd)
    if flux != "Terminating":
        assert kubectl_wait_ends(resource, "Ready") == (flux == "Current")
        assert kubectl_wait_ends(resource, "Stalled") == (flux == "Failed")


def test_new_server_before_its_first_reconcile_is_in_progress():
    """Without a status kstatus would call it current: the schema gives it one."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    created = {"metadata": {"generation": 1}, "spec": {}, "status": schema["properties"]["status"]["default"]}
    assert (kstatus(created), argocd_health(created)) == ("InProgress", "Progressing")
    assert argocd_health({"metadata": {"generation": 1}, "spec": {}}) == "Progressing"
    assert not kubectl_wait_ends(created, "Ready")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations(), st.sampled_from([7, 8]))
def test_all_waiting_tools_agree_in_any_situation(situation: StatusInputs, generation: int):
    resource = server(situation, generation=generation)
    flux, argo_cd = kstatus(resource), argocd_health(resource)
    agreed = {
        "Current": {"Healthy", "Suspended"},
        "InProgress": {"Progressing", "Suspended"},
        "Failed": {"Degraded"},
    }
    assert argo_cd in agreed[flux]
    assert (argo_cd == "Suspended") <= situation.paused
    assert kubectl_wait_ends(resource, "Ready") == (flux == "Current")
    assert kubectl_wait_ends(resource, "Stalled") == (flux == "Failed")
