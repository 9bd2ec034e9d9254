"""Pods and Deployments as the API server sends them, in the states that a vLLM replica goes through."""

from __future__ import annotations

from typing import Any

from vllm_operator.api.names import selector_labels

Json = dict[str, Any]

CREATED = "2026-03-02T08:00:00Z"
SCHEDULED = "2026-03-02T08:00:01Z"
STARTED = "2026-03-02T08:01:00Z"
READY = "2026-03-02T08:03:00Z"
REVISION = "5f9c6d7b8"
OLD_REVISION = "7d4b5c6f9"
NO_GPU = (
    "0/4 nodes are available: 4 Insufficient nvidia.com/gpu. preemption: 0/4 nodes are available: "
    "4 No preemption victims found for incoming pod."
)


def condition(kind: str, status: str, since: str, reason: str = "", message: str = "") -> Json:
    """A condition of any Kubernetes object."""
    entry = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    return {field: value for field, value in entry.items() if value}


def pod(name: str = "mistral-5f9c6d7b8-x2k7b", revision: str = REVISION, node: str | None = "gpu-3") -> Json:
    """A pod on a node whose container is being created."""
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "creationTimestamp": CREATED,
            "labels": {**selector_labels("mistral"), "pod-template-hash": revision},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"mistral-{revision}", "controller": True}
            ],
        },
        "spec": {
            **({"nodeName": node} if node else {}),
            "containers": [{"name": "vllm", "resources": {"limits": {"memory": "32Gi", "nvidia.com/gpu": "1"}}}],
        },
        "status": {
            "phase": "Pending",
            "startTime": SCHEDULED,
            "conditions": [
                condition("PodScheduled", "True", SCHEDULED),
                condition("Ready", "False", SCHEDULED, "ContainersNotReady", "containers with unready status: [vllm]"),
            ],
            "containerStatuses": [container({"waiting": {"reason": "ContainerCreating"}})],
        },
    }


def container(
    state: Json, last: Json | None = None, restarts: int = 0, ready: bool = False, started: bool = False
) -> Json:
    """The status of the container that runs vLLM."""
    return {
        "name": "vllm",
        "state": state,
        "lastState": last or {},
        "restartCount": restarts,
        "ready": ready,
        "started": started or ready,
    }


def with_container(body: Json, status: Json, phase: str = "Running") -> Json:
    """`body` with another status of its container."""
    body["status"] |= {"phase": phase, "containerStatuses": [status]}
    return body


def scheduling_pod(name: str = "mistral-5f9c6d7b8-x2k7b", message: str = NO_GPU) -> Json:
    """A pod that no node takes, for the reason in the scheduler's `message`."""
    body = pod(name, node=None)
    body["status"] = {
        "phase": "Pending",
        "conditions": [condition("PodScheduled", "False", SCHEDULED, "Unschedulable", message)],
    }
    return body


def waiting_pod(reason: str, message: str = "", name: str = "mistral-5f9c6d7b8-x2k7b") -> Json:
    """A pod whose container waits for `reason`."""
    waiting = {"reason": reason, **({"message": message} if message else {})}
    return with_container(pod(name), container({"waiting": waiting}), "Pending")


def loading_pod(name: str = "mistral-5f9c6d7b8-x2k7b", revision: str = REVISION) -> Json:
    """A pod whose container runs and has not passed its startup probe."""
    return with_container(pod(name, revision), container({"running": {"startedAt": STARTED}}))


def ready_pod(name: str = "mistral-5f9c6d7b8-x2k7b", revision: str = REVISION) -> Json:
    """A pod that Kubernetes calls ready."""
    body = with_container(pod(name, revision), container({"running": {"startedAt": STARTED}}, ready=True))
    body["status"]["conditions"][1] = condition("Ready", "True", READY)
    return body


def termination(exit_code: int, message: str = "", reason: str = "Error", ran_seconds: int = 40) -> Json:
    """How a container ended at 08:20:00, after it had run for `ran_seconds`."""
    start = 8 * 3600 + 20 * 60 - ran_seconds
    clock = f"{start // 3600:02}:{start // 60 % 60:02}:{start % 60:02}"
    return {
        "exitCode": exit_code,
        "reason": reason,
        "message": message,
        "startedAt": f"2026-03-02T{clock}Z",
        "finishedAt": "2026-03-02T08:20:00Z",
    }


def crashed_pod(end: Json, name: str = "mistral-5f9c6d7b8-x2k7b") -> Json:
    """A pod in CrashLoopBackOff whose last run ended as `end`."""
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=vllm"}}
    return with_container(pod(name), container(waiting, {"terminated": end}, restarts=3))


def deleted_pod(name: str = "mistral-5f9c6d7b8-x2k7b") -> Json:
    """Return a ready pod that was deleted at 08:30:00 with a grace period of 150 s."""
    body = ready_pod(name)
    body["metadata"] |= {"deletionTimestamp": "2026-03-02T08:32:30Z", "deletionGracePeriodSeconds": 150}
    return body


def deployment(wanted: int = 3, **status: Any) -> Json:
    """A Deployment that rolled out `wanted` replicas, unless `status` says otherwise."""
    counts = {"replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted}
    words = f'ReplicaSet "mistral-{REVISION}" has successfully progressed.'
    done = condition("Progressing", "True", READY, "NewReplicaSetAvailable", words)
    return {
        "metadata": {"name": "mistral", "generation": 4},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 4, **counts, "conditions": [done], **status},
    }


def rolling(reason: str = "ReplicaSetUpdated", since: str = READY) -> Json:
    """The Progressing condition while a Deployment rolls out; stuck with reason `ProgressDeadlineExceeded`."""
    if reason == "ProgressDeadlineExceeded":
        return condition(
            "Progressing", "False", since, reason, f'ReplicaSet "mistral-{REVISION}" has timed out progressing.'
        )
    return condition("Progressing", "True", since, reason, f'ReplicaSet "mistral-{REVISION}" is progressing.')
