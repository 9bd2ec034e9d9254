"""The state of a replica that runs, from its probe result and from the kubelet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.pods import (
    READY,
    STARTED,
    container,
    loading_pod,
    pod,
    ready_pod,
    termination,
    with_container,
)
from tests.helpers.status_inputs import NOT_PROBED, NOW, REFUSED, SERVING, inputs, replica_of, state_of, status_of
from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.replicas.engine_states import stalled_messages

NAME = "mistral-5f9c6d7b8-x2k7b"


def running_again(**last: Any) -> dict[str, Any]:
    again = container({"running": {"startedAt": STARTED}}, {"terminated": termination(1, **last)}, restarts=1)
    return with_container(pod(), again)


def test_running_container_that_refuses_connections_is_loading():
    entry = replica_of(loading_pod(), REFUSED)
    assert state_of(entry) == ("Loading", "Loading")
    assert "downloads or loads" in entry["message"]
    assert entry["since"] == STARTED


def test_model_that_is_not_downloaded_is_only_loading():
    assert "download" not in replica_of(loading_pod(), REFUSED, downloads=False)["message"]


def test_ready_pod_whose_engine_lists_the_model_serves():
    entry = replica_of(ready_pod(), SERVING)
    assert entry == {"pod": NAME, "node": "gpu-3", "phase": "Serving", "reason": "Serving", "since": READY}


def test_answering_engine_outside_the_service_does_not_serve_yet():
    assert state_of(replica_of(loading_pod(), SERVING)) == ("Loading", "NotReady")


@pytest.mark.parametrize(
    ("health", "phase"),
    [
        ("ModelNotServed", "Failed"),
        ("HTTPError", "Failed"),
        ("Unauthorized", "Unknown"),
        ("Timeout", "Unknown"),
        ("Unreachable", "Unknown"),
    ],
)
def test_ready_pod_with_a_bad_answer_does_not_serve(health: Any, phase: str):
    entry = replica_of(ready_pod(), ReplicaHealth(reason=health, message="what it said"))
    assert state_of(entry) == (phase, health)
    assert entry["message"].startswith("what it said")


def test_engine_that_answers_neither_operator_nor_kubelet_is_stalled():
    body = with_container(pod(), container({"running": {"startedAt": STARTED}}, started=True))
    assert state_of(replica_of(body, ReplicaHealth("Timeout", "no answer within 10 s"))) == ("Stalled", "Timeout")


def test_pod_that_lost_its_readiness_is_not_called_new():
    body = with_container(pod(), container({"running": {"startedAt": STARTED}}, started=True))
    assert "readiness probe" in replica_of(body, SERVING)["message"]


def test_restart_after_a_long_run_is_loading_and_names_the_cause():
    entry = replica_of(running_again(message="ValueError: boom", ran_seconds=700), REFUSED)
    assert state_of(entry) == ("Loading", "Restarted")
    assert "exit code 1: ValueError: boom" in entry["message"]


def test_replica_that_came_up_after_a_crash_serves():
    body = ready_pod()
    body["status"]["containerStatuses"][0] |= {"restartCount": 4, "lastState": {"terminated": termination(1)}}
    assert state_of(replica_of(body, SERVING)) == ("Serving", "Serving")


def test_restarted_operator_keeps_the_state_until_the_first_probe():
    for health in (SERVING, ReplicaHealth("ModelNotServed", "lists tiny"), ReplicaHealth("Timeout", "no answer")):
        known = replica_of(ready_pod(), health)
        assert replica_of(ready_pod(), NOT_PROBED, previous={"replicaStatuses": [known]}) == known


@pytest.mark.parametrize("health", [SERVING, ReplicaHealth("Timeout", "no answer"), ReplicaHealth("HTTPError", "500")])
def test_restarted_operator_keeps_the_state_of_a_replica_that_lost_its_readiness(health: ReplicaHealth):
    body = with_container(pod(), container({"running": {"startedAt": STARTED}}, started=True))
    known = replica_of(body, health)
    assert replica_of(body, NOT_PROBED, previous={"replicaStatuses": [known]}) == known


def test_ready_pod_before_its_first_probe_does_not_serve():
    assert state_of(replica_of(ready_pod(), NOT_PROBED)) == ("Loading", "NotProbed")


STALLED = ReplicaHealth("Stalled", "/health answers 200, but a one-token completion got no answer within 20 s")


def test_stalled_engine_carries_the_message_of_the_probe():
    entry = replica_of(ready_pod(), STALLED)
    assert state_of(entry) == ("Stalled", "EngineStalled")
    assert entry["message"] == STALLED.message


def test_restarted_operator_keeps_an_engine_stalled_until_the_first_probe():
    before = replica_of(ready_pod(), STALLED)
    assert replica_of(ready_pod(), NOT_PROBED, previous={"replicaStatuses": [before]}) == before
    assert stalled_messages({"replicaStatuses": [before]}) == {NAME: STALLED.message}


@pytest.mark.parametrize("reason", ["Timeout", "Unreachable"])
def test_cut_network_is_unknown_and_not_stalled(reason: Any):
    before = replica_of(ready_pod(), STALLED)
    entry = replica_of(ready_pod(), ReplicaHealth(reason, "no answer"), previous={"replicaStatuses": [before]})
    assert state_of(entry) == ("Unknown", reason)
    assert stalled_messages({"replicaStatuses": [entry]}) == {}


UID = f"uid-of-{NAME}"


def starting(stage: Diagnosis | None, *, downloads: bool = True, **changes: object) -> tuple[str, str, str]:
    """Return phase and reason of a replica that loads, and the phase of its server."""
    found = {UID: stage} if stage else {}
    status = status_of(
        inputs(loading_pod(), health={NAME: REFUSED}, lookup_results=found, downloads=downloads, **changes)
    )
    (entry,) = status["replicaStatuses"]
    return entry["phase"], entry["reason"], status["phase"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (None, ("Loading", "Loading")),
        (NO_DIAGNOSIS, ("Loading", "Loading")),
        (Diagnosis("FetchingWeights", "looks"), ("Loading", "Loading")),
        (Diagnosis("Downloading", "downloads"), ("Downloading", "Downloading")),
        (Diagnosis("LoadingWeights", "loads"), ("Loading", "LoadingWeights")),
    ],
)
def test_replica_that_starts_has_the_stage_of_its_log(stage: Diagnosis | None, expected: tuple[str, str]):
    assert starting(stage)[:2] == expected


def test_server_with_a_downloading_replica_is_downloading():
    assert starting(Diagnosis("Downloading", "downloads the model's weights"))[2] == "Downloading"


def test_model_that_is_in_the_cluster_is_never_downloaded():
    assert starting(Diagnosis("Downloading", "downloads"), downloads=False)[:2] == ("Loading", "Loading")


def test_restarted_operator_keeps_the_stage_until_it_has_read_the_log():
    given = inputs(loading_pod(), health={NAME: REFUSED}, lookup_results={UID: Diagnosis("Downloading", "downloads")})
    known = status_of(given)
    restarted = inputs(loading_pod(), health={NAME: REFUSED}, previous=known, now=NOW.replace(hour=20))
    assert status_of(restarted) == known


def test_replica_that_serves_has_no_stage():
    status = status_of(inputs(ready_pod(), lookup_results={UID: Diagnosis("Downloading", "downloads")}))
    assert status["replicaStatuses"][0]["phase"] == "Serving"


def test_engine_that_answers_is_not_downloading():
    body = with_container(pod(), container({"running": {"startedAt": "2026-03-02T08:01:00Z"}}))
    status = status_of(inputs(body, lookup_results={UID: Diagnosis("Downloading", "downloads")}))
    assert status["replicaStatuses"][0]["reason"] == "NotReady"
