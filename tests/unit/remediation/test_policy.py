"""Which pod the operator deletes for a stalled engine, and every reason to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.pods import OLD_REVISION, deleted_pod, deployment, loading_pod, ready_pod, rolling
from tests.helpers.status_inputs import NOW, SERVING, conditions, inputs, status_of
from vllm_operator.api.status import MAX_STALLED_RESTARTS
from vllm_operator.kube.fields import format_timestamp
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.remediation.fleet import FleetHealth
from vllm_operator.remediation.policy import (
    BACKOFF_SECONDS,
    HOUR_SECONDS,
    PER_HOUR,
    STALLED_SECONDS,
    Decision,
    decide,
    with_decision,
)
from vllm_operator.status.assessment import assess
from vllm_operator.status.build import build_status
from vllm_operator.status.inputs import StatusInputs

STALLED = ReplicaHealth("Stalled", "/health answers 200, but a one-token completion got no answer within 20 s")
SILENT = ReplicaHealth("Timeout", "/health: no answer within 10 s")
NOT_DELETED = "the operator does not delete the pod: "


def ago(seconds: float) -> str:
    """Return the time this many seconds before now, as Kubernetes writes it."""
    return format_timestamp(NOW - timedelta(seconds=seconds))


def owned(pod: dict[str, Any], created: str = "") -> dict[str, Any]:
    revision = pod["metadata"]["labels"]["pod-template-hash"]
    pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": f"mistral-{revision}", "controller": True}]
    pod["metadata"]["creationTimestamp"] = created or pod["metadata"]["creationTimestamp"]
    return pod


def case(
    *names: str,
    stalled: tuple[str, ...] = ("a",),
    since: float = 300.0,
    more: tuple[dict[str, Any], ...] = (),
    health: dict[str, ReplicaHealth] | None = None,
    restarts: tuple[float, ...] = (),
    **changes: Any,
) -> StatusInputs:
    """Return the inputs of a server with these ready pods, some of them stalled for `since` seconds."""
    entries = [{"pod": name, "phase": "Stalled", "reason": "EngineStalled", "since": ago(since)} for name in stalled]
    pods = [*(owned(ready_pod(name)) for name in names), *more]
    probed = dict.fromkeys(stalled, STALLED) | (health or {})
    changes = {"previous": {"replicaStatuses": entries}, **changes}
    return replace(
        inputs(*pods, health=probed, **changes), stalled_restarts=tuple(ago(seconds) for seconds in restarts)
    )


def decided(given: StatusInputs, fleet: FleetHealth = FleetHealth(probed=9)) -> tuple[str, str, float | None]:  # noqa: B008
    """Return the pod to delete, the note for the status, and the seconds until the next decision."""
    decision = decide(assess(given), fleet)
    return (
        decision.delete.pod if decision.delete else "",
        decision.note.removeprefix(NOT_DELETED),
        decision.requeue_after,
    )


DELETED = ("a", "the operator deletes the pod", None)


def test_server_without_a_stalled_replica_needs_nothing() -> None:
    assert decide(assess(case("a", "b", stalled=())), FleetHealth()) == Decision()


def test_stalled_replica_is_deleted() -> None:
    assert decided(case("a", "b")) == DELETED


def test_only_replica_is_deleted_too_when_no_rollout_is_under_way() -> None:
    assert decided(case("a")) == DELETED


def test_replica_that_stalled_first_comes_first() -> None:
    entries = [
        {"pod": name, "phase": "Stalled", "reason": "EngineStalled", "since": ago(seconds)}
        for name, seconds in (("a", 100), ("b", 400))
    ]
    given = case("a", "b", "c", stalled=("a", "b"), previous={"replicaStatuses": entries})
    assert decided(given)[0] == "b"


def test_paused_server_blocks() -> None:
    assert decided(case("a", "b", paused=True)) == ("", "spec.paused is true", None)


@pytest.mark.parametrize("name", [None, "other-5f9c6d7b8", "mistral-77d4b9c5f"])
def test_pod_of_another_owner_blocks(name: str | None) -> None:
    pod = ready_pod("a")
    owner = {"kind": "ReplicaSet", "name": name, "controller": True}
    pod["metadata"]["ownerReferences"] = [owner] if name else []
    given = inputs(pod, health={"a": STALLED})
    assert decided(given)[:2] == ("", "the server's Deployment does not own it, so nothing would replace it")


def test_probe_result_of_a_former_process_blocks() -> None:
    unconfirmed = replace(STALLED, from_status=True)
    assert decided(case("a", "b", health={"a": unconfirmed})) == (
        "",
        "this operator process has not probed it yet",
        None,
    )
    assert decided(case("a", "b", health={"a": ReplicaHealth()}))[:2] == (
        "",
        "this operator process has not probed it yet",
    )


def test_replica_has_a_minute_to_recover_by_itself() -> None:
    assert decided(case("a", "b", since=20)) == (
        "",
        "not before the engine has been stalled for 60 s",
        STALLED_SECONDS - 20,
    )
    assert decided(case("a", "b", since=60)) == DELETED


def test_new_stall_counts_from_now() -> None:
    assert decided(case("a", "b", previous={}))[2] == STALLED_SECONDS


@pytest.mark.parametrize(
    ("fleet", "blocks"),
    [
        (FleetHealth(probed=10, unresponsive=6, servers=4), True),
        (FleetHealth(probed=10, unresponsive=5, servers=4), False),
        (FleetHealth(probed=10, unresponsive=6, servers=1), False),
        (FleetHealth(probed=2, unresponsive=2, servers=2), False),
        (FleetHealth(probed=4, unresponsive=4, servers=2), True),
        (FleetHealth(probed=2, unresponsive=1, servers=1, namespaces=1, affected_namespaces=1), False),
        (FleetHealth(probed=2, unresponsive=1, servers=1, namespaces=3, affected_namespaces=2), True),
        (FleetHealth(probed=2, unresponsive=1, servers=1, namespaces=4, affected_namespaces=2), False),
    ],
)
def test_most_replicas_affected_at_once_block(fleet: FleetHealth, blocks: bool) -> None:
    pod, note, requeue_after = decided(case("a", "b"), fleet)
    assert (pod == "") == blocks
    assert ("the network or the operator itself" in note) == blocks
    assert (requeue_after is not None) == blocks


def test_interrupted_network_gives_no_decision() -> None:
    given = case("a", "b", stalled=(), health={"a": SILENT, "b": SILENT})
    assert decide(assess(given), FleetHealth(probed=2, unresponsive=2, servers=1)) == Decision()


def test_silent_other_replica_blocks() -> None:
    given = case("a", "b", health={"b": SILENT})
    assert decided(given)[:2] == ("", "b does not answer at all, so the network may be interrupted")


def rollout(*names: str, reason: str = "ReplicaSetUpdated", **more: Any) -> StatusInputs:
    """Two wanted, one of the new revision not there yet."""
    counts = {"replicas": len(names) + 1, "updatedReplicas": 1, "conditions": [rolling(reason)]}
    pods = [owned(ready_pod(name, OLD_REVISION)) for name in names]
    entries = [{"pod": "a", "phase": "Stalled", "reason": "EngineStalled", "since": ago(300)}]
    return inputs(
        *pods,
        owned(loading_pod("new")),
        health={"a": STALLED, "new": ReplicaHealth("ConnectionRefused", "refused")},
        wanted=2,
        previous={"replicaStatuses": entries},
        deployment=deployment(2, **counts),
        **more,
    )


def test_rollout_without_a_serving_replica_blocks() -> None:
    assert decided(rollout("a"))[:2] == ("", "a rollout is under way and no other replica serves")


def test_rollout_with_another_serving_replica_does_not_block() -> None:
    assert decided(rollout("a", "b")) == DELETED


def test_stuck_rollout_does_not_block() -> None:
    assert decided(rollout("a", reason="ProgressDeadlineExceeded")) == DELETED


def test_three_deletions_within_an_hour_block() -> None:
    pod, note, requeue_after = decided(case("a", "b", restarts=(3000, 2000, 1000)))
    assert (pod, requeue_after) == ("", HOUR_SECONDS - 3000)
    assert note == "it deleted 3 pods within an hour and engines stalled again, so a restart is no remedy"
    assert decided(case("a", "b", restarts=(3700, 2000, 1000))) == DELETED


@pytest.mark.parametrize(("restarts", "delay"), [((1,), 60), ((1000, 1), 120)])
def test_backoff_doubles_with_each_deletion(restarts: tuple[float, ...], delay: float) -> None:
    assert delay == BACKOFF_SECONDS * 2 ** (len(restarts) - 1)
    given = case("a", "b", restarts=restarts)
    assert decided(given) == ("", f"it deleted the last one less than {delay} s ago", delay - 1)
    over = tuple(delay if seconds == 1 else seconds for seconds in restarts)
    assert decided(case("a", "b", restarts=over)) == DELETED


def test_starting_replacement_blocks() -> None:
    created = ago(590)
    starting = owned(loading_pod("next"), created)
    refused = {"next": ReplicaHealth("ConnectionRefused", "refused")}
    given = case("a", "b", more=(starting,), health=refused, restarts=(600,))
    assert decided(given)[:2] == ("", "next terminates or starts")
    assert decided(case("a", "b", more=(owned(ready_pod("next"), created),), restarts=(600,))) == DELETED


def test_terminating_pod_blocks() -> None:
    given = case("a", "b", more=(owned(deleted_pod("former")),), health={"former": SERVING}, restarts=(600,))
    assert decided(given)[:2] == ("", "former terminates or starts")


def test_older_replica_that_does_not_start_does_not_block() -> None:
    """One that waits for a GPU for days gets it when the stalled one goes."""
    given = case("a", more=(owned(loading_pod("old")),), health={"old": ReplicaHealth("ConnectionRefused", "refused")})
    assert decided(given) == DELETED


def after_deletion(given: StatusInputs) -> list[str]:
    """Return `stalledRestarts` of the status after one more deletion."""
    assessment = assess(given)
    (stalled,) = (replica for replica in assessment.replicas if replica.reason == "EngineStalled")
    restarts = build_status(with_decision(assessment, Decision(delete=stalled)))["stalledRestarts"]
    assert isinstance(restarts, list)
    return restarts


def test_status_counts_the_deletions_of_an_hour() -> None:
    given = case("a", "b", restarts=(4000, 3000, 1000))
    assert after_deletion(given) == [ago(3000), ago(1000), ago(0)]
    assert len(after_deletion(case("a", restarts=(10,) * PER_HOUR))) <= MAX_STALLED_RESTARTS
    assert status_of(given)["stalledRestarts"] == [ago(4000), ago(3000), ago(1000)]
    assert "stalledRestarts" not in status_of(case("a", "b"))


def test_condition_carries_the_note_of_the_decision() -> None:
    given = case("a", "b", restarts=(1,))
    assessment = assess(given)
    assessment = with_decision(assessment, decide(assessment, FleetHealth(probed=9)))
    message = conditions(build_status(assessment))["EngineHealthy"]["message"]
    assert message == f"a: {STALLED.message}; {NOT_DELETED}it deleted the last one less than 60 s ago"


def test_note_does_not_change_with_the_time() -> None:
    """A status that counts seconds would be written all the time."""
    first, later = case("a", "b", since=10), case("a", "b", since=50)
    assert decide(assess(first), FleetHealth()).note == decide(assess(later), FleetHealth()).note
