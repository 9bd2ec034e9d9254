"""The phase of a replica, from what Kubernetes and its engine say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.pods import (
    READY,
    SCHEDULED,
    STARTED,
    condition,
    container,
    crashed_pod,
    deleted_pod,
    loading_pod,
    pod,
    ready_pod,
    scheduling_pod,
    termination,
    waiting_pod,
    with_container,
)
from tests.helpers.status_inputs import NOW, REFUSED, SERVING, inputs, status_of
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.replicas.engine_states import stalled_message

NAME = "mistral-5f9c6d7b8-x2k7b"
NOT_PROBED = ReplicaHealth()


def only(body: dict[str, Any], health: ReplicaHealth = NOT_PROBED, **changes: Any) -> dict[str, Any]:
    """The one entry for this pod."""
    (entry,) = status_of(inputs(body, health={NAME: health}, **changes))["replicaStatuses"]
    return entry


def state(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["phase"], entry["reason"]


def running_again(**last: Any) -> dict[str, Any]:
    again = container({"running": {"startedAt": STARTED}}, {"terminated": termination(1, **last)}, restarts=1)
    return with_container(pod(), again)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("0/4 nodes are available: 4 Insufficient nvidia.com/gpu.", "InsufficientGPU"),
        ("0/4 nodes are available: 1 Insufficient amd.com/gpu, 3 node(s) had untolerated taint.", "InsufficientGPU"),
        ("0/4 nodes are available: 4 Insufficient memory.", "Unschedulable"),
        ("0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector.", "Unschedulable"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "VolumeNotBound"),
        ('0/1 nodes are available: persistentvolumeclaim "models" not found.', "VolumeNotBound"),
    ],
)
def test_pod_without_a_node_is_scheduling_with_the_schedulers_words(message: str, reason: str):
    entry = only(scheduling_pod(message=message))
    assert state(entry) == ("Scheduling", reason)
    assert entry["message"] == message
    assert entry["since"] == SCHEDULED
    assert "node" not in entry


def test_new_pod_that_the_scheduler_has_not_seen_is_scheduling():
    body = pod(node=None)
    body["status"] = {"phase": "Pending"}
    assert state(only(body)) == ("Scheduling", "Pending")


def test_container_being_created_is_pulling():
    assert state(only(pod())) == ("Pulling", "ContainerCreating")


def test_image_that_cannot_be_pulled_reads_the_same_at_every_attempt():
    failed = only(waiting_pod("ErrImagePull", 'failed to pull "vllm:nope": not found'))
    backing_off = only(
        waiting_pod(
            "ImagePullBackOff",
            'Back-off pulling image "vllm:nope": ErrImagePull: failed to pull "vllm:nope": not found',
        )
    )
    assert failed == backing_off
    assert state(failed) == ("Pulling", "ImagePullBackOff")
    assert failed["message"] == 'failed to pull "vllm:nope": not found'


def test_older_kubelets_short_back_off_keeps_the_cause_told_before():
    first = only(waiting_pod("ErrImagePull", "pull access denied"))
    later = only(
        waiting_pod("ImagePullBackOff", 'Back-off pulling image "vllm:nope"'), previous={"replicaStatuses": [first]}
    )
    assert later["message"] == "pull access denied"


def test_missing_secret_fails_with_the_kubelets_words():
    entry = only(waiting_pod("CreateContainerConfigError", 'secret "hf" not found'))
    assert state(entry) == ("Failed", "CreateContainerConfigError")
    assert entry["message"] == 'secret "hf" not found'


def test_running_container_that_refuses_connections_is_loading():
    entry = only(loading_pod(), REFUSED)
    assert state(entry) == ("Loading", "Loading")
    assert "downloads or loads" in entry["message"]
    assert entry["since"] == STARTED


def test_model_that_is_not_downloaded_is_only_loading():
    assert "download" not in only(loading_pod(), REFUSED, downloads=False)["message"]


def test_running_init_container_is_loading():
    body = waiting_pod("PodInitializing")
    body["status"]["initContainerStatuses"] = [{"name": "fetch", "state": {"running": {"startedAt": STARTED}}}]
    assert state(only(body)) == ("Loading", "Initializing")


def test_ready_pod_whose_engine_lists_the_model_serves():
    entry = only(ready_pod(), SERVING)
    assert entry == {"pod": NAME, "node": "gpu-3", "phase": "Serving", "reason": "Serving", "since": READY}


def test_answering_engine_outside_the_service_does_not_serve_yet():
    assert state(only(loading_pod(), SERVING)) == ("Loading", "NotReady")


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
    entry = only(ready_pod(), ReplicaHealth(reason=health, message="what it said"))
    assert state(entry) == (phase, health)
    assert entry["message"].startswith("what it said")


def test_engine_that_neither_operator_nor_kubelet_hears_is_stalled():
    body = with_container(pod(), container({"running": {"startedAt": STARTED}}, started=True))
    assert state(only(body, ReplicaHealth("Timeout", "no answer within 10 s"))) == ("Stalled", "Timeout")


def test_deleted_pod_is_draining_since_it_was_told_to_stop():
    entry = only(deleted_pod(), SERVING)
    assert state(entry) == ("Draining", "Terminating")
    assert entry["since"] == "2026-03-02T08:30:00Z"


def test_crash_loop_tells_exit_code_and_cause():
    entry = only(crashed_pod(termination(2, "api_server.py: error: unrecognized arguments: --no-such-flag")))
    assert state(entry) == ("CrashLooping", "UnknownFlag")
    assert entry["message"] == ("exit code 2: this vLLM has no --no-such-flag: correct or remove it (engine.extraArgs)")


def test_crash_without_words_points_to_the_log():
    assert "kubectl logs --previous" in only(crashed_pod(termination(1)))["message"]


def test_crash_loop_whose_end_is_not_known_names_no_exit_code():
    entry = only(waiting_pod("CrashLoopBackOff", "back-off 5m0s restarting failed container=vllm"))
    assert state(entry) == ("CrashLooping", "CrashLoopBackOff")
    assert entry["message"] == "back-off 5m0s restarting failed container=vllm"


def test_out_of_memory_tells_the_limit_and_the_way_out():
    entry = only(crashed_pod(termination(137, reason="OOMKilled")))
    assert state(entry) == ("CrashLooping", "OOMKilled")
    assert "limit 32Gi" in entry["message"]
    assert "raise resources.limits.memory" in entry["message"]


def test_next_start_after_a_crash_is_still_crash_looping():
    assert state(only(running_again(), REFUSED)) == ("CrashLooping", "ExitCode1")


def test_end_with_exit_code_0_is_a_crash_too():
    """So vLLM ends when its engine process was killed."""
    ended = with_container(pod(), container({"terminated": termination(0, reason="Completed")}))
    again = container({"running": {"startedAt": STARTED}}, {"terminated": termination(0)}, restarts=1)
    assert state(only(ended)) == ("CrashLooping", "ExitCode0")
    assert state(only(with_container(pod(), again), REFUSED)) == ("CrashLooping", "ExitCode0")


def test_init_container_that_ended_well_did_not_crash():
    body = loading_pod()
    body["status"]["initContainerStatuses"] = [container({"terminated": termination(0, reason="Completed")})]
    assert state(only(body, REFUSED)) == ("Loading", "Loading")


def test_pod_that_lost_its_readiness_is_not_called_new():
    body = with_container(pod(), container({"running": {"startedAt": STARTED}}, started=True))
    assert "readiness probe" in only(body, SERVING)["message"]


def test_restart_after_a_long_run_is_loading_and_tells_why():
    entry = only(running_again(message="ValueError: boom", ran_seconds=700), REFUSED)
    assert state(entry) == ("Loading", "Restarted")
    assert "exit code 1: ValueError: boom" in entry["message"]


def test_replica_that_came_up_after_a_crash_serves():
    body = ready_pod()
    body["status"]["containerStatuses"][0] |= {"restartCount": 4, "lastState": {"terminated": termination(1)}}
    assert state(only(body, SERVING)) == ("Serving", "Serving")


def test_evicted_pod_failed_with_the_kubelets_words():
    body = ready_pod()
    body["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    entry = only(body)
    assert state(entry) == ("Failed", "Evicted")
    assert entry["message"] == "The node was low on resource: memory."


def test_pod_of_a_silent_node_is_unknown_even_if_its_engine_answers():
    body = ready_pod()
    body["status"]["conditions"][1] = condition("Ready", "False", READY, "NodeNotReady")
    assert state(only(body, SERVING)) == ("Unknown", "NodeLost")


def test_restarted_operator_keeps_what_it_knew_until_the_first_answer():
    for health in (SERVING, ReplicaHealth("ModelNotServed", "lists tiny"), ReplicaHealth("Timeout", "no answer")):
        known = only(ready_pod(), health)
        assert only(ready_pod(), NOT_PROBED, previous={"replicaStatuses": [known]}) == known


@pytest.mark.parametrize("health", [SERVING, ReplicaHealth("Timeout", "no answer"), ReplicaHealth("HTTPError", "500")])
def test_restarted_operator_keeps_what_it_knew_of_a_replica_that_lost_its_readiness(health: ReplicaHealth):
    body = with_container(pod(), container({"running": {"startedAt": STARTED}}, started=True))
    known = only(body, health)
    assert only(body, NOT_PROBED, previous={"replicaStatuses": [known]}) == known


def test_ready_pod_that_nobody_asked_yet_does_not_serve():
    assert state(only(ready_pod(), NOT_PROBED)) == ("Loading", "NotProbed")


def test_since_is_kept_while_phase_and_reason_last():
    first = only(ready_pod(), ReplicaHealth("HTTPError", "500"))
    later = inputs(ready_pod(), health={NAME: ReplicaHealth("HTTPError", "503")}, previous={"replicaStatuses": [first]})
    (entry,) = status_of(replace(later, now=NOW.replace(hour=23)))["replicaStatuses"]
    assert entry["since"] == first["since"] == "2026-03-02T09:00:00Z"


def test_secret_in_a_log_never_reaches_the_status():
    entry = only(crashed_pod(termination(1, "OSError: 401 for token hf_AbCdEfGhIjKlMn")))
    assert "hf_AbC" not in entry["message"]


def test_hundred_worst_replicas_come_first_in_a_stable_order():
    pods = [ready_pod(f"mistral-{index:03}") for index in range(120)]
    pods[77] = scheduling_pod("mistral-077")
    pods[99] = crashed_pod(termination(1), "mistral-099")
    entries = status_of(inputs(*pods))["replicaStatuses"]
    assert len(entries) == 100
    assert [entry["pod"] for entry in entries[:3]] == ["mistral-099", "mistral-077", "mistral-000"]
    assert entries == status_of(inputs(*reversed(pods)))["replicaStatuses"]


FROZEN = ReplicaHealth("Stalled", "/health answers 200, but a one-token completion got no answer within 20 s")


def test_frozen_engine_is_stalled_in_words_of_what_was_seen():
    entry = only(ready_pod(), FROZEN)
    assert state(entry) == ("Stalled", "EngineStalled")
    assert entry["message"] == FROZEN.message


def test_restarted_operator_keeps_a_frozen_engine_stalled_until_it_has_asked():
    before = only(ready_pod(), FROZEN)
    assert only(ready_pod(), NOT_PROBED, previous={"replicaStatuses": [before]}) == before
    assert stalled_message({"replicaStatuses": [before]}, NAME) == FROZEN.message
    assert stalled_message({"replicaStatuses": [before]}, "another") == ""


@pytest.mark.parametrize("reason", ["Timeout", "Unreachable"])
def test_cut_network_is_unknown_and_not_stalled(reason: Any):
    before = only(ready_pod(), FROZEN)
    entry = only(ready_pod(), ReplicaHealth(reason, "no answer"), previous={"replicaStatuses": [before]})
    assert state(entry) == ("Unknown", reason)
    assert stalled_message({"replicaStatuses": [entry]}, NAME) == ""
