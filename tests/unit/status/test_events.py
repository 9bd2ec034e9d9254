"""Events for changes of the status, and none for an unchanged one."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.status.events import status_events


def status(**conditions: tuple[str, str]) -> dict[str, Any]:
    """Return a status with these conditions: type -> (status, reason)."""
    return {
        "conditions": [
            {"type": kind, "status": value, "reason": reason, "message": f"{kind} is {value}"}
            for kind, (value, reason) in conditions.items()
        ]
    }


SERVING = status(Accepted=("True", "Valid"), Available=("True", "Serving"), Progressing=("False", "Complete"))
ROWS: list[tuple[str, dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = [
    ("nothing new", SERVING, SERVING, []),
    ("a new server that is accepted", {}, status(Accepted=("True", "Valid")), []),
    ("a new server that is refused", {}, status(Accepted=("False", "InvalidSpec")), [("Warning", "InvalidSpec")]),
    (
        "refused as before",
        status(Accepted=("False", "InvalidSpec")),
        status(Accepted=("False", "InvalidSpec")),
        [],
    ),
    (
        "refused for another reason",
        status(Accepted=("False", "InvalidSpec")),
        status(Accepted=("False", "SecretNotFound")),
        [("Warning", "SecretNotFound")],
    ),
    (
        "accepted again",
        status(Accepted=("False", "InvalidSpec")),
        status(Accepted=("True", "Valid")),
        [("Normal", "Accepted")],
    ),
    (
        "serving",
        status(Available=("False", "NoReplica")),
        status(Available=("True", "Serving")),
        [("Normal", "Available")],
    ),
    ("serving at first sight", {}, status(Available=("True", "Serving")), [("Normal", "Available")]),
    (
        "no longer serving",
        status(Available=("True", "Serving")),
        status(Available=("False", "NoReplica")),
        [("Warning", "Unavailable")],
    ),
    ("not serving yet", {}, status(Available=("False", "NoReplica")), []),
    (
        "rolled out",
        status(Progressing=("True", "RollingOut")),
        status(Progressing=("False", "Complete")),
        [("Normal", "RolledOut")],
    ),
    (
        "a stuck rollout",
        status(Progressing=("True", "RollingOut")),
        status(Progressing=("False", "Stuck")),
        [("Warning", "RolloutStuck")],
    ),
    (
        "a sick engine",
        status(EngineHealthy=("True", "Healthy")),
        status(EngineHealthy=("False", "ModelNotServed")),
        [("Warning", "ModelNotServed")],
    ),
    (
        "an engine sick as before",
        status(EngineHealthy=("False", "ModelNotServed")),
        status(EngineHealthy=("False", "ModelNotServed")),
        [],
    ),
    ("a healed engine", status(EngineHealthy=("False", "Timeout")), status(EngineHealthy=("True", "Healthy")), []),
]


@pytest.mark.parametrize(("before", "after", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_events_of_condition_changes(
    before: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert [(event.type, event.reason) for event in status_events(before, after)] == expected


def test_changed_numbers_give_no_event() -> None:
    changed = {**SERVING, "readyReplicas": 7, "message": "7/7 replicas serve"}

    assert status_events(SERVING, changed) == ()


def test_cause_is_in_one_event_only() -> None:
    before = status(Available=("True", "Serving"), EngineHealthy=("True", "Answering"))
    after = status(Available=("False", "NoReplicaServes"), EngineHealthy=("False", "HTTPError"))

    events = {event.reason: event.note for event in status_events(before, after)}

    assert events == {"Unavailable": "no replica serves", "HTTPError": "EngineHealthy is False"}


def test_note_is_the_conditions_message() -> None:
    (event,) = status_events({}, status(Accepted=("False", "InvalidSpec")))

    assert event.note == "Accepted is False"


def replicas(**phases: tuple[str, str]) -> dict[str, Any]:
    """Return a status with these replicas: pod -> (phase, reason), and EngineHealthy as it follows from them."""
    entries = [
        {"pod": pod, "phase": phase, "reason": reason, "message": "message"} for pod, (phase, reason) in phases.items()
    ]
    stalled = any(reason == "EngineStalled" for _, reason in phases.values())
    judged = status(EngineHealthy=("False", "EngineStalled") if stalled else ("True", "Answering"))
    return {**judged, "replicaStatuses": entries}


GOOD, STALLED = ("Serving", "Serving"), ("Stalled", "EngineStalled")


def test_each_stalled_engine_has_one_event_and_one_for_its_recovery() -> None:
    first, second = replicas(a=STALLED, b=GOOD), replicas(a=STALLED, b=STALLED)
    events = [(event.type, event.reason, event.note) for event in status_events(replicas(a=GOOD, b=GOOD), first)]
    assert events == [("Warning", "EngineStalled", "a: message")]
    assert [event.note for event in status_events(first, second)] == ["b: message"]
    assert status_events(second, second) == ()
    recovered = [(event.type, event.reason, event.note) for event in status_events(second, first)]
    assert recovered == [("Normal", "EngineRecovered", "b: the engine answers again")]


def test_stalled_replica_that_is_deleted_or_lost_has_not_recovered() -> None:
    assert status_events(replicas(a=STALLED, b=GOOD), replicas(a=("Draining", "Terminating"), b=GOOD)) == ()
    assert status_events(replicas(a=STALLED, b=GOOD), replicas(c=("Loading", "Loading"), b=GOOD)) == ()
    assert status_events(replicas(a=STALLED, b=GOOD), replicas(a=("Unknown", "Timeout"), b=GOOD)) == ()
