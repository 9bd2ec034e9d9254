"""The states of a pod that Kubernetes reports: from the scheduler, the kubelet and the container runtime.

Each check looks for one state and returns None when the pod is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vllm_operator.diagnosis.causes import diagnose_log
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.diagnosis.event_reasons import EVENT_REASONS, PULL_SECRET
from vllm_operator.diagnosis.log_text import log_lines, most_telling_line, one_line, valid_reason
from vllm_operator.kube.fields import (
    get,
    get_condition,
    get_int,
    get_list,
    get_map,
    get_str,
    seconds_between,
    time_before,
)
from vllm_operator.kube.types import Object
from vllm_operator.status.replicas.pod import Container, Pod, ReplicaState
from vllm_operator.status.replicas.pod_memo import ENDS

LONG_RUN_SECONDS = 600.0
"""Seconds of a run after which a container had started: the kubelet resets its backoff after the same time."""

FIRST_SIGNAL_EXIT_CODE = 128
"""Exit codes from here on are 128 plus a signal: a killed process leaves no message about its cause."""

INSUFFICIENT_GPU = "InsufficientGPU"
"""Reason of a replica that no node has an accelerator for."""

IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
_BACK_OFF_PREFIX = re.compile(r'^Back-off pulling image "[^"]*"(?:: ErrImagePull: )?')
_PULL_REASONS = {
    "ErrImagePull",
    IMAGE_PULL_BACK_OFF,
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_INVALID_REASONS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "InvalidImageName",
    "ErrImageNeverPull",
    "PostStartHookError",
}
_INSUFFICIENT = re.compile(r"Insufficient ([\w.\-]+/[\w.\-]+)")
_NODES = re.compile(r"^0/\d+ nodes")
_NODE_LOST_REASONS = {"NodeNotReady", "NodeLost", "NodeUnreachable"}


def node_lost(pod: Pod) -> ReplicaState | None:
    """Return a state when the node no longer reports, so that the pod's last status may be out of date."""
    reason = get_str(pod.body, "status", "reason")
    is_silent = get_str(pod.readiness, "reason") in _NODE_LOST_REASONS or _marked_by_node_controller(pod)
    if get_str(pod.body, "status", "phase") != "Unknown" and reason not in _NODE_LOST_REASONS and not is_silent:
        return None
    message = f"node {pod.node or '?'} does not report: look at it with kubectl describe node"
    return ReplicaState("Unknown", "NodeLost", message, get_str(pod.readiness, "lastTransitionTime"))


def _marked_by_node_controller(pod: Pod) -> bool:
    """Return True when the node controller marked the pod as not ready: it gives no reason, while a kubelet does."""
    not_ready = get_str(pod.readiness, "status") == "False" and not get_str(pod.readiness, "reason")
    return not_ready and bool(pod.node) and any(container.ready for container in pod.containers)


def draining(pod: Pod) -> ReplicaState | None:
    """Return a state when the pod is being deleted and finishes its requests."""
    deadline = get_str(pod.body, "metadata", "deletionTimestamp")
    if not deadline:
        return None
    grace = get_int(pod.body, "metadata", "deletionGracePeriodSeconds")
    message = f"finishes its requests, within {grace} s"
    if reason := _disruption(pod):
        message = f"{reason}; {message}"
    # Kubernetes writes the time at which it kills the pod, not the time at which the deletion began.
    return ReplicaState("Draining", "Terminating", message, time_before(deadline, grace))


def _disruption(pod: Pod) -> str:
    """Return why Kubernetes ends the pod: preemption, eviction, a taint; empty when a person or a rollout does."""
    entry = get_condition(pod.body, "DisruptionTarget")
    if get_str(entry, "status") != "True":
        return ""
    return get_str(entry, "message") or get_str(entry, "reason")


def ended(pod: Pod) -> ReplicaState | None:
    """Return a state when the pod ended and will not run again: evicted, preempted or completed."""
    phase = get_str(pod.body, "status", "phase")
    if phase not in {"Failed", "Succeeded"}:
        return None
    reason = valid_reason(get_str(pod.body, "status", "reason"), "Ended")
    message = get_str(pod.body, "status", "message") or _disruption(pod)
    message = message or f"the pod ended with phase {phase}; the Deployment replaces it"
    ends = (get_str(container.state, "terminated", "finishedAt") for container in pod.containers)
    return ReplicaState("Failed", reason, message, next(filter(None, ends), get_str(pod.body, "status", "startTime")))


def unscheduled(pod: Pod) -> ReplicaState | None:
    """Return a state while the scheduler has no node for the pod, with the cause that it gives."""
    status = get_str(pod.scheduled, "status")
    if status == "True" or pod.node:
        return None
    since = get_str(pod.scheduled, "lastTransitionTime") or get_str(pod.body, "metadata", "creationTimestamp")
    message = get_str(pod.scheduled, "message")
    if not message:
        return ReplicaState("Scheduling", "Pending", "waits for the scheduler", since)
    reason, headline = _scheduler_cause(message)
    return ReplicaState("Scheduling", reason, message, since, headline)


def _scheduler_cause(message: str) -> tuple[str, str]:
    """Return reason and headline for a message such as `0/4 nodes are available: 4 Insufficient nvidia.com/gpu`."""
    nodes = _NODES.match(message)
    count = f" ({nodes.group()})" if nodes else ""
    if found := _INSUFFICIENT.search(message):
        return INSUFFICIENT_GPU, f"no node with a free {found.group(1).rstrip('.')}{count}"
    if "unbound immediate PersistentVolumeClaims" in message or "persistentvolumeclaim" in message.lower():
        return "VolumeNotBound", f"its volume claim is not bound: {_without_preemption(message)}"
    return "Unschedulable", _without_preemption(message)


def _without_preemption(message: str) -> str:
    """Return the scheduler's message without its part about preemption."""
    return one_line(message.partition(" preemption:")[0].rstrip("."), 300)


def invalid_container(pod: Pod) -> ReplicaState | None:
    """Return a state when the kubelet cannot create a container from its spec, such as for a missing Secret."""
    for container in (*pod.init_containers, *pod.containers):
        if container.waiting in _INVALID_REASONS:
            message = get_str(container.state, "waiting", "message") or "the kubelet gives no message"
            if diagnosis := _diagnose_waiting(pod, message):
                message = f"{message}; {diagnosis.message}"
            return ReplicaState("Failed", container.waiting, message, get_str(pod.scheduled, "lastTransitionTime"))
    return None


def _diagnose_waiting(pod: Pod, message: str) -> Diagnosis | None:
    """Return the named cause in the kubelet's message, such as an image without a command."""
    diagnosis = pod.memo.recall(pod.body, ENDS, lambda: diagnose_log(message), ("waiting", message))
    return diagnosis if diagnosis and diagnosis.reason else None


def image_not_pulled(pod: Pod) -> ReplicaState | None:
    """Return a state when the kubelet cannot pull the image; it retries without end.

    The kubelet alternates between `ErrImagePull` and `ImagePullBackOff`: both give the same reason and message here.
    """
    for container in (*pod.init_containers, *pod.containers):
        if container.waiting in _PULL_REASONS:
            message = get_str(container.state, "waiting", "message")
            message = _BACK_OFF_PREFIX.sub("", message) or message or "the kubelet cannot pull the image"
            if pod.lookup_result and pod.lookup_result.reason == PULL_SECRET:
                message = f"{message}; {pod.lookup_result.message}"
            return ReplicaState("Pulling", IMAGE_PULL_BACK_OFF, message, get_str(pod.scheduled, "lastTransitionTime"))
    return None


def crashing(pod: Pod) -> ReplicaState | None:
    """Return a state when a container ended and has not started since."""
    found = crashed_container(pod)
    return _crash_state(pod, *found) if found else None


def crashed_container(pod: Pod) -> tuple[Container, Object] | None:
    """Return the container that ended and has not started since, and its end."""
    for container in pod.init_containers:
        if (end := _unrecovered_end(container)) and get(end, "exitCode") != 0:
            return container, end
    for container in pod.containers:
        # vLLM must not end at all: it ends with exit code 0 when its engine process was killed.
        if end := _unrecovered_end(container):
            return container, end
    return None


def _unrecovered_end(container: Container) -> Object | None:
    """Return how the container ended, when no later start of it succeeded; else None."""
    if container.waiting == "CrashLoopBackOff":
        return get_map(container.last, "terminated") or get_map(container.state, "waiting")
    if now := get_map(container.state, "terminated"):
        return now
    before = get_map(container.last, "terminated")
    if not container.restarts or container.started or not before:
        return None
    # A start takes minutes: without this the replica would be Loading between any two crashes.
    return None if _ran_long(before) else before


def _ran_long(end: Object) -> bool:
    lasted = seconds_between(get_str(end, "startedAt"), get_str(end, "finishedAt"))
    return lasted is not None and lasted >= LONG_RUN_SECONDS


def _crash_state(pod: Pod, container: Container, end: Object) -> ReplicaState:
    since = get_str(end, "finishedAt")
    if get_str(end, "reason") == "OOMKilled":
        message = f"container {container.name} ran out of memory and was killed{_memory_limit(pod, container)}"
        return ReplicaState("CrashLooping", "OOMKilled", f"{message}: raise resources.limits.memory", since)
    if get(end, "exitCode") is None:
        return ReplicaState(
            "CrashLooping",
            "CrashLoopBackOff",
            get_str(end, "message") or "the container ends after each restart",
            since,
        )
    return ReplicaState("CrashLooping", *_reason_and_message(pod, end), since)


def _reason_and_message(pod: Pod, end: Object) -> tuple[str, str]:
    """Return reason and message of an end. The log comes first: the termination message holds only its last lines."""
    code = get_int(end, "exitCode")
    if code >= FIRST_SIGNAL_EXIT_CODE and pod.lookup_result and pod.lookup_result.reason == "Killing":
        return "Killing", f"exit code {code}: {pod.lookup_result.message}"
    from_log = pod.log_diagnosis
    diagnosis = from_log if from_log and from_log.reason else _diagnose_end(pod, end)
    if diagnosis and diagnosis.reason:
        return diagnosis.reason, f"exit code {code}: {diagnosis.message}"
    if pod.log_diagnosis and pod.log_diagnosis.message and code < FIRST_SIGNAL_EXIT_CODE:
        return f"ExitCode{code}", f"exit code {code}: {pod.log_diagnosis.message}"
    return f"ExitCode{code}", crash_message(pod, end)


def _diagnose_end(pod: Pod, end: Object) -> Diagnosis | None:
    """Return the cause in a termination message, which is read once for each container."""
    message = get_str(end, "message")
    if not message:
        return None
    end_id = (get_str(end, "containerID"), get_str(end, "finishedAt"))
    return pod.memo.recall(pod.body, ENDS, lambda: diagnose_log(message), end_id)


def crash_message(pod: Pod, end: Object) -> str:
    """Return one line for a container's end: its exit code and the most telling line of its termination message."""
    code = get_int(end, "exitCode")
    message = one_line(most_telling_line(log_lines(get_str(end, "message"))))
    return f"exit code {code}: {message}" if message else f"exit code {code}: see kubectl logs --previous {pod.name}"


def _memory_limit(pod: Pod, container: Container) -> str:
    for spec in get_list(pod.body, "spec", "containers"):
        limit = get(spec, "resources", "limits", "memory")
        if limit and spec.get("name") == container.name:
            return f" (limit {limit})"
    return ""


def creating(pod: Pod) -> ReplicaState | None:
    """Return a state while the pod has a node and the container that runs vLLM has not started."""
    main = pod.main
    if main and (main.state.get("running") or main.state.get("terminated")):
        return None
    since = get_str(pod.scheduled, "lastTransitionTime")
    if pod.lookup_result and pod.lookup_result.reason in EVENT_REASONS:
        return ReplicaState("Pulling", pod.lookup_result.reason, pod.lookup_result.message)
    for container in pod.init_containers:
        if begun := get_map(container.state, "running"):
            return ReplicaState(
                "Loading", "Initializing", f"init container {container.name} runs", get_str(begun, "startedAt")
            )
    return ReplicaState("Pulling", "ContainerCreating", "the node pulls the image and mounts the volumes", since)


KUBERNETES_STATES: tuple[Callable[[Pod], ReplicaState | None], ...] = (
    node_lost,  # the node no longer reports
    draining,  # the pod is being deleted
    ended,  # the pod ended for good
    unscheduled,  # the pod has no node yet
    invalid_container,  # the kubelet cannot create a container
    image_not_pulled,  # the kubelet cannot pull an image
    crashing,  # a container ended and has not started since
    creating,  # vLLM's container has not started yet
)
"""In order: the first check that returns a state decides."""
