"""Flux, Argo CD and kubectl wait agree on every status: kstatus' rules, our Lua script, kubectl's own check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lupa.lua51 import LuaRuntime

from tests.support.pods import (
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
from tests.unit.status.support import MISSING_SECRET, REFUSED, facts
from tests.unit.status.test_properties import situations
from vllm_operator.api.crd import crd
from vllm_operator.api.observed import Facts, ReplicaHealth
from vllm_operator.status.build import build_status

SCRIPT = Path(__file__).parents[3] / "docs" / "gitops" / "argocd-health.lua"
Json = dict[str, Any]


def kstatus(server: Mapping[str, Any]) -> str:
    """What Flux makes of it: sigs.k8s.io/cli-utils `pkg/kstatus/status`, `Compute` for a kind without rules."""
    metadata, status = server["metadata"], server.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    for entry in status.get("conditions", ()):
        if entry["type"] == "Reconciling" and entry["status"] == "True":
            return "InProgress"
        if entry["type"] == "Stalled" and entry["status"] == "True":
            return "Failed"
    for entry in status.get("conditions", ()):
        if entry["type"] == "Ready":
            return "Current" if entry["status"] == "True" else "InProgress"
    return "Current"


def kubectl_waits_no_more(server: Mapping[str, Any], kind: str) -> bool:
    """`kubectl wait --for=condition=KIND` ends (kubectl `pkg/cmd/wait/condition.go`, `checkCondition`)."""
    status = server.get("status") or {}
    for entry in status.get("conditions", ()):
        if entry["type"].lower() == kind.lower():
            observed = entry.get("observedGeneration", status.get("observedGeneration"))
            if observed is not None and observed < server["metadata"]["generation"]:
                return False
            return bool(entry["status"].lower() == "true")
    return False


def argo(server: Mapping[str, Any]) -> str:
    """What Argo CD makes of it, with nothing but Lua's base library."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    run = lua.eval(
        "function(source, obj) local script = assert(loadstring(source)); "
        "setfenv(script, {obj = obj, ipairs = ipairs, pairs = pairs, type = type}); return script() end"
    )
    health = run(SCRIPT.read_text(), lua.table_from(server, recursive=True))
    assert isinstance(health["message"], str)
    return str(health["status"])


def server(seen: Facts, **metadata: Any) -> Json:
    """The resource with the status of these facts."""
    spec = {"paused": True} if seen.paused else {}
    return {
        "metadata": {"name": "mistral", "generation": seen.generation, **metadata},
        "spec": spec,
        "status": build_status(seen),
    }


def moving(*pods: Json, stuck: bool = False, **changes: Any) -> Facts:
    """Facts of a rollout of which one pod of the wanted revision exists."""
    reason = "ProgressDeadlineExceeded" if stuck else "ReplicaSetUpdated"
    counts = {"updatedReplicas": 1, "availableReplicas": len(pods) - 1, "conditions": [rolling(reason)]}
    return facts(*pods, deployment=deployment(len(pods), **counts), **changes)


NEW = "mistral-new"
OLD = ready_pod("mistral-old", OLD_REVISION)
UNKNOWN_FLAG = termination(2, "api_server.py: error: unrecognized arguments: --no-such-flag")
LOST = {"mistral-b": ReplicaHealth("ModelNotServed", "lists no mistral-7b")}
ROWS: list[tuple[str, Json, str, str]] = [
    ("serving", server(facts(ready_pod("a"), ready_pod("b"))), "Current", "Healthy"),
    ("scaled to zero", server(facts(deployment=deployment(0))), "Current", "Healthy"),
    ("no Deployment yet", server(facts(deployment=None, replicas=1)), "InProgress", "Progressing"),
    ("loading", server(moving(loading_pod(NEW), health={NEW: REFUSED})), "InProgress", "Progressing"),
    ("waiting for a GPU", server(moving(scheduling_pod(NEW))), "InProgress", "Progressing"),
    ("rolling out", server(moving(OLD, loading_pod(NEW), health={NEW: REFUSED})), "InProgress", "Progressing"),
    (
        "a replica that lost its model",
        server(facts(ready_pod("mistral-a"), ready_pod("mistral-b"), health=LOST)),
        "InProgress",
        "Progressing",
    ),
    ("draining", server(facts(deleted_pod("a"), wanted=1)), "InProgress", "Progressing"),
    ("crashing for a reason unknown", server(moving(crashed_pod(termination(1), NEW))), "InProgress", "Progressing"),
    ("refused", server(facts(deployment=None, problems=(MISSING_SECRET,))), "Failed", "Degraded"),
    ("refused while it serves", server(facts(ready_pod(), problems=(MISSING_SECRET,))), "Failed", "Degraded"),
    ("crashing for an unknown flag", server(moving(crashed_pod(UNKNOWN_FLAG, NEW))), "Failed", "Degraded"),
    (
        "older revision serves beside a broken image",
        server(moving(OLD, waiting_pod("ImagePullBackOff", "nope: not found", NEW))),
        "Failed",
        "Degraded",
    ),
    ("stuck at the deadline", server(moving(OLD, scheduling_pod(NEW), stuck=True)), "Failed", "Degraded"),
    ("paused and serving", server(facts(ready_pod(), paused=True)), "Current", "Suspended"),
    ("paused before it began", server(facts(deployment=None, paused=True)), "InProgress", "Suspended"),
    (
        "paused and refused",
        server(facts(ready_pod(), paused=True, problems=(MISSING_SECRET,))),
        "Failed",
        "Degraded",
    ),
    ("a newer spec", server(facts(ready_pod()), generation=8), "InProgress", "Progressing"),
    (
        "a newer spec after a refused one",
        server(facts(ready_pod(), problems=(MISSING_SECRET,)), generation=8),
        "InProgress",
        "Progressing",
    ),
    ("deleted", server(facts(ready_pod()), deletionTimestamp="2026-03-02T09:00:00Z"), "Terminating", "Progressing"),
]


@pytest.mark.parametrize(("resource", "flux", "argo_cd"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_everyone_who_waits_is_told_the_same(resource: Json, flux: str, argo_cd: str):
    assert (kstatus(resource), argo(resource)) == (flux, argo_cd)
    if flux != "Terminating":
        assert kubectl_waits_no_more(resource, "Ready") == (flux == "Current")
        assert kubectl_waits_no_more(resource, "Stalled") == (flux == "Failed")


def test_new_server_that_nobody_has_looked_at_is_in_progress():
    """Without a status kstatus would call it current: the schema gives it one."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    created = {"metadata": {"generation": 1}, "spec": {}, "status": schema["properties"]["status"]["default"]}
    assert (kstatus(created), argo(created)) == ("InProgress", "Progressing")
    assert argo({"metadata": {"generation": 1}, "spec": {}}) == "Progressing"
    assert not kubectl_waits_no_more(created, "Ready")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations(), st.sampled_from([7, 8]))
def test_everyone_agrees_whatever_was_observed(seen: Facts, generation: int):
    resource = server(seen, generation=generation)
    flux, argo_cd = kstatus(resource), argo(resource)
    agreed = {
        "Current": {"Healthy", "Suspended"},
        "InProgress": {"Progressing", "Suspended"},
        "Failed": {"Degraded"},
    }
    assert argo_cd in agreed[flux]
    assert (argo_cd == "Suspended") <= seen.paused
    assert kubectl_waits_no_more(resource, "Ready") == (flux == "Current")
    assert kubectl_waits_no_more(resource, "Stalled") == (flux == "Failed")
