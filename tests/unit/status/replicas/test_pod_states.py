"""The states of a replica that Kubernetes reports."""

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
    deployment,
    loading_pod,
    pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
    with_container,
)
from tests.helpers.status_inputs import NOW, REFUSED, SERVING, inputs, replica_of, state_of, status_of
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.inputs import StatusInputs

NAME = "mistral-5f9c6d7b8-x2k7b"
UID = f"uid-of-{NAME}"
MOUNT = 'MountVolume.SetUp failed for volume "model-cache" : secret "nfs" not found'


def looked_up(body: dict[str, Any], reason: str, message: str) -> StatusInputs:
    return inputs(
        body,
        health={NAME: ReplicaHealth()},
        deployment=deployment(1, availableReplicas=0, conditions=[rolling()]),
        lookup_results={UID: Diagnosis(reason, message)},
    )


EXPLAINED = [
    (looked_up(pod(), "FailedMount", MOUNT), "Pulling", "FailedMount", MOUNT),
    (
        looked_up(waiting_pod("ImagePullBackOff", "401 Unauthorized"), "FailedToRetrieveImagePullSecret", "Unable to "
        "retrieve some image pull secrets (regcred)"),
        *("Pulling", "ImagePullBackOff", "401 Unauthorized; Unable to retrieve some image pull secrets (regcred)"),
    ),
    (
        looked_up(crashed_pod(termination(137)), "Killing", "Container vllm failed liveness probe, will be restarted"),
        *("CrashLooping", "Killing", "exit code 137: Container vllm failed liveness probe, will be restarted"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "phase", "reason", "message"), EXPLAINED)
def test_replica_has_the_cause_of_its_events(given: StatusInputs, phase: str, reason: str, message: str):
    (entry,) = status_of(given)["replicaStatuses"]
    assert (entry["phase"], entry["reason"], entry["message"]) == (phase, reason, message)


@pytest.mark.parametrize("given", [row[0] for row in EXPLAINED])
def test_restarted_operator_keeps_the_cause_until_the_next_lookup(given: StatusInputs):
    known = status_of(given)
    assert status_of(replace(given, lookup_results={}, previous=known, now=NOW.replace(hour=20))) == known


def test_cause_goes_when_the_mount_succeeded():
    known = status_of(looked_up(pod(), "FailedMount", MOUNT))
    (entry,) = status_of(replace(looked_up(pod(), "", ""), previous=known))["replicaStatuses"]
    assert entry["reason"] == "ContainerCreating"


def test_pod_that_the_node_controller_marked_is_lost_and_neither_loading_nor_stalled():
    """It sets Ready to False without a reason, which no kubelet does, and leaves the containers as they were."""
    body = ready_pod()
    body["status"]["conditions"][1] = condition("Ready", "False", SCHEDULED)
    for health in (SERVING, ReplicaHealth("Timeout", "no answer")):
        (entry,) = status_of(inputs(body, health={NAME: health}))["replicaStatuses"]
        assert (entry["phase"], entry["reason"]) == ("Unknown", "NodeLost")


def test_pod_that_left_a_silent_node_is_lost_and_not_draining():
    body = deleted_pod()
    body["status"]["conditions"][1] = condition("Ready", "False", SCHEDULED)
    (entry,) = status_of(inputs(body))["replicaStatuses"]
    assert (entry["phase"], entry["reason"]) == ("Unknown", "NodeLost")


def test_pod_that_kubernetes_ends_names_the_cause():
    body = deleted_pod()
    message = "default-scheduler: preempting to accommodate a higher priority pod"
    body["status"]["conditions"].append(
        condition("DisruptionTarget", "True", SCHEDULED, "PreemptionByScheduler", message)
    )
    (entry,) = status_of(inputs(body))["replicaStatuses"]
    assert entry["phase"] == "Draining"
    assert entry["message"].startswith(f"{message}; finishes its requests")


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
def test_pod_without_a_node_is_scheduling_with_the_schedulers_message(message: str, reason: str):
    entry = replica_of(scheduling_pod(message=message))
    assert state_of(entry) == ("Scheduling", reason)
    assert entry["message"] == message
    assert entry["since"] == SCHEDULED
    assert "node" not in entry


def test_new_pod_without_a_scheduler_message_is_scheduling():
    body = pod(node=None)
    body["status"] = {"phase": "Pending"}
    assert state_of(replica_of(body)) == ("Scheduling", "Pending")


def test_container_being_created_is_pulling():
    assert state_of(replica_of(pod())) == ("Pulling", "ContainerCreating")


def test_image_that_cannot_be_pulled_reads_the_same_at_every_attempt():
    failed = replica_of(waiting_pod("ErrImagePull", 'failed to pull "vllm:nope": not found'))
    backing_off = replica_of(
        waiting_pod(
            "ImagePullBackOff",
            'Back-off pulling image "vllm:nope": ErrImagePull: failed to pull "vllm:nope": not found',
        )
    )
    assert failed == backing_off
    assert state_of(failed) == ("Pulling", "ImagePullBackOff")
    assert failed["message"] == 'failed to pull "vllm:nope": not found'


def test_missing_secret_fails_with_the_kubelets_message():
    entry = replica_of(waiting_pod("CreateContainerConfigError", 'secret "hf" not found'))
    assert state_of(entry) == ("Failed", "CreateContainerConfigError")
    assert entry["message"] == 'secret "hf" not found'


def test_running_init_container_is_loading():
    body = waiting_pod("PodInitializing")
    body["status"]["initContainerStatuses"] = [{"name": "fetch", "state": {"running": {"startedAt": STARTED}}}]
    assert state_of(replica_of(body)) == ("Loading", "Initializing")


def test_deleted_pod_is_draining_since_its_deletion():
    entry = replica_of(deleted_pod(), SERVING)
    assert state_of(entry) == ("Draining", "Terminating")
    assert entry["since"] == "2026-03-02T08:30:00Z"


def test_crash_loop_names_exit_code_and_cause():
    entry = replica_of(crashed_pod(termination(2, "api_server.py: error: unrecognized arguments: --no-such-flag")))
    assert state_of(entry) == ("CrashLooping", "UnknownFlag")
    assert entry["message"] == ("exit code 2: this vLLM has no --no-such-flag: correct or remove it (engine.extraArgs)")


def test_crash_without_a_termination_message_points_to_the_log():
    assert "kubectl logs --previous" in replica_of(crashed_pod(termination(1)))["message"]


def test_crash_loop_whose_end_is_not_known_names_no_exit_code():
    entry = replica_of(waiting_pod("CrashLoopBackOff", "back-off 5m0s restarting failed container=vllm"))
    assert state_of(entry) == ("CrashLooping", "CrashLoopBackOff")
    assert entry["message"] == "back-off 5m0s restarting failed container=vllm"


def test_out_of_memory_names_the_limit_and_the_remedy():
    entry = replica_of(crashed_pod(termination(137, reason="OOMKilled")))
    assert state_of(entry) == ("CrashLooping", "OOMKilled")
    assert "limit 32Gi" in entry["message"]
    assert "raise resources.limits.memory" in entry["message"]


def test_next_start_after_a_crash_is_still_crash_looping():
    assert state_of(replica_of(running_again(), REFUSED)) == ("CrashLooping", "ExitCode1")


def test_end_with_exit_code_0_is_a_crash_too():
    """So vLLM ends when its engine process was killed."""
    ended = with_container(pod(), container({"terminated": termination(0, reason="Completed")}))
    again = container({"running": {"startedAt": STARTED}}, {"terminated": termination(0)}, restarts=1)
    assert state_of(replica_of(ended)) == ("CrashLooping", "ExitCode0")
    assert state_of(replica_of(with_container(pod(), again), REFUSED)) == ("CrashLooping", "ExitCode0")


def test_init_container_that_ended_well_did_not_crash():
    body = loading_pod()
    body["status"]["initContainerStatuses"] = [container({"terminated": termination(0, reason="Completed")})]
    assert state_of(replica_of(body, REFUSED)) == ("Loading", "Loading")


def test_evicted_pod_failed_with_the_kubelets_message():
    body = ready_pod()
    body["status"] |= {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    entry = replica_of(body)
    assert state_of(entry) == ("Failed", "Evicted")
    assert entry["message"] == "The node was low on resource: memory."


def test_pod_of_a_silent_node_is_unknown_even_if_its_engine_answers():
    body = ready_pod()
    body["status"]["conditions"][1] = condition("Ready", "False", READY, "NodeNotReady")
    assert state_of(replica_of(body, SERVING)) == ("Unknown", "NodeLost")
