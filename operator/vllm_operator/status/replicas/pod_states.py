"""States of a pod that Kubernetes itself names: from the scheduler, the kubelet and the container runtime.

Each function looks for one thing that is wrong or not there yet, and returns None when it does not find it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vllm_operator.diagnosis.causes import diagnose
from vllm_operator.diagnosis.event_reasons import PULL_SECRET
from vllm_operator.diagnosis.event_reasons import REASONS as EVENT_REASONS
from vllm_operator.diagnosis.log_text import most_telling_line, one_line, valid_reason
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
from vllm_operator.status.replicas.pod import Container, Pod, State

LONG_RUN = 600.0
"""Seconds after which a container that died had been up: the kubelet forgets its back-off after the same time."""

KILLED = 128
"""Exit codes from here on are signals: who is killed has no last words that tell why."""

IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
_BACK_OFF = re.compile(r'^Back-off pulling image "[^"]*"(?:: ErrImagePull: )?')
_UNPULLED = {
    "ErrImagePull",
    IMAGE_PULL_BACK_OFF,
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
}
_UNUSABLE = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "InvalidImageName",
    "ErrImageNeverPull",
    "PostStartHookError",
}
_INSUFFICIENT = re.compile(r"Insufficient ([\w.\-]+/[\w.\-]+)")
_NODES = re.compile(r"^0/\d+ nodes")
_NODE_LOST = {"NodeNotReady", "NodeLost", "NodeUnreachable"}


def lost(pod: Pod) -> State | None:
    """The node does not report any more, so nothing that is known of the pod is true for sure."""
    why = get_str(pod.body, "status", "reason")
    silent = get_str(pod.readiness, "reason") in _NODE_LOST or _marked_by_node_controller(pod)
    if get_str(pod.body, "status", "phase") != "Unknown" and why not in _NODE_LOST and not silent:
        return None
    words = f"node {pod.node or '?'} does not report: look at it with kubectl describe node"
    return State("Unknown", "NodeLost", words, get_str(pod.readiness, "lastTransitionTime"))


def _marked_by_node_controller(pod: Pod) -> bool:
    """A kubelet gives a reason when a pod is not ready; the node controller, which stands in for it, gives none."""
    not_ready = get_str(pod.readiness, "status") == "False" and not get_str(pod.readiness, "reason")
    return not_ready and bool(pod.node) and any(container.ready for container in pod.containers)


def draining(pod: Pod) -> State | None:
    """The pod is being deleted and finishes what it has."""
    deadline = get_str(pod.body, "metadata", "deletionTimestamp")
    if not deadline:
        return None
    grace = get_int(pod.body, "metadata", "deletionGracePeriodSeconds")
    words = f"finishes its requests, within {grace} s"
    if why := _disruption(pod):
        words = f"{why}; {words}"
    # Kubernetes writes the moment at which the pod will be killed, not the one at which it was told to stop.
    return State("Draining", "Terminating", words, time_before(deadline, grace))


def _disruption(pod: Pod) -> str:
    """Why Kubernetes itself ends the pod: preemption, eviction, a taint; empty when a person or a rollout does."""
    entry = get_condition(pod.body, "DisruptionTarget")
    if get_str(entry, "status") != "True":
        return ""
    return get_str(entry, "message") or get_str(entry, "reason")


def failed(pod: Pod) -> State | None:
    """The pod ended and will not run again: evicted, preempted or completed."""
    phase = get_str(pod.body, "status", "phase")
    if phase not in {"Failed", "Succeeded"}:
        return None
    why = valid_reason(get_str(pod.body, "status", "reason"), "Ended")
    words = get_str(pod.body, "status", "message") or _disruption(pod)
    words = words or f"the pod ended with phase {phase}; another one takes its place"
    ends = (get_str(container.state, "terminated", "finishedAt") for container in pod.containers)
    return State("Failed", why, words, next(filter(None, ends), get_str(pod.body, "status", "startTime")))


def unscheduled(pod: Pod) -> State | None:
    """No node took the pod yet; the scheduler says why."""
    status = get_str(pod.scheduled, "status")
    if status == "True" or pod.node:
        return None
    since = get_str(pod.scheduled, "lastTransitionTime") or get_str(pod.body, "metadata", "creationTimestamp")
    words = get_str(pod.scheduled, "message")
    if not words:
        return State("Scheduling", "Pending", "waits for the scheduler", since)
    why, headline = _scheduler_cause(words)
    return State("Scheduling", why, words, since, headline)


def _scheduler_cause(words: str) -> tuple[str, str]:
    """Reason and headline for words such as `0/4 nodes are available: 4 Insufficient nvidia.com/gpu`."""
    nodes = _NODES.match(words)
    count = f" ({nodes.group()})" if nodes else ""
    if found := _INSUFFICIENT.search(words):
        return "InsufficientGPU", f"no node with a free {found.group(1).rstrip('.')}{count}"
    if "unbound immediate PersistentVolumeClaims" in words or "persistentvolumeclaim" in words.lower():
        return "VolumeNotBound", f"its volume claim is not bound: {_brief(words)}"
    return "Unschedulable", _brief(words)


def _brief(words: str) -> str:
    """The scheduler's words without what it says of preemption."""
    return one_line(words.partition(" preemption:")[0].rstrip("."), 300)


def unusable(pod: Pod) -> State | None:
    """The kubelet cannot create the container as it is written, such as for a missing Secret."""
    for container in (*pod.init_containers, *pod.containers):
        if container.waiting in _UNUSABLE:
            words = get_str(container.state, "waiting", "message") or "the kubelet gives no message"
            return State("Failed", container.waiting, words, get_str(pod.scheduled, "lastTransitionTime"))
    return None


def unpulled(pod: Pod) -> State | None:
    """The image cannot be pulled; the kubelet tries again for ever.

    `ErrImagePull` and `ImagePullBackOff` take turns at every attempt: both are told in the same words here.
    """
    for container in (*pod.init_containers, *pod.containers):
        if container.waiting in _UNPULLED:
            words = get_str(container.state, "waiting", "message")
            words = _BACK_OFF.sub("", words) or words or "the image cannot be pulled"
            if pod.lookup_result and pod.lookup_result.reason == PULL_SECRET:
                words = f"{words}; {pod.lookup_result.message}"
            return State("Pulling", IMAGE_PULL_BACK_OFF, words, get_str(pod.scheduled, "lastTransitionTime"))
    return None


def crashing(pod: Pod) -> State | None:
    """A container died and has not come up since."""
    found = crashed(pod)
    return _crash_state(pod, *found) if found else None


def crashed(pod: Pod) -> tuple[Container, Object] | None:
    """The container that died and has not come up since, and how it ended."""
    for container in pod.init_containers:
        if (end := _crash(container)) and get(end, "exitCode") != 0:
            return container, end
    for container in pod.containers:
        # A server is not to end at all: vLLM ends with exit code 0 when its engine process was killed.
        if end := _crash(container):
            return container, end
    return None


def _crash(container: Container) -> Object | None:
    """How the container ended, when it ended and no later start got through; None otherwise."""
    if container.waiting == "CrashLoopBackOff":
        return get_map(container.last, "terminated") or get_map(container.state, "waiting")
    if now := get_map(container.state, "terminated"):
        return now
    before = get_map(container.last, "terminated")
    if not container.restarts or container.started or not before:
        return None
    # A start takes minutes: without this the replica would be called Loading between any two crashes.
    return None if _ran_long(before) else before


def _ran_long(end: Object) -> bool:
    lasted = seconds_between(get_str(end, "startedAt"), get_str(end, "finishedAt"))
    return lasted is not None and lasted >= LONG_RUN


def _crash_state(pod: Pod, container: Container, end: Object) -> State:
    since = get_str(end, "finishedAt")
    if get_str(end, "reason") == "OOMKilled":
        words = f"container {container.name} was killed for want of memory{_memory_limit(pod, container)}"
        return State("CrashLooping", "OOMKilled", f"{words}: raise resources.limits.memory", since)
    if get(end, "exitCode") is None:
        return State("CrashLooping", "CrashLoopBackOff", get_str(end, "message") or "the container keeps ending", since)
    return State("CrashLooping", *_ending(pod, end), since)


def _ending(pod: Pod, end: Object) -> tuple[str, str]:
    """Reason and message of an end: what the log tells comes first, for its cause stands far above the last words."""
    code = get_int(end, "exitCode")
    if code >= KILLED and pod.lookup_result and pod.lookup_result.reason == "Killing":
        return "Killing", f"exit code {code}: {pod.lookup_result.message}"
    for told in (pod.log_diagnosis, diagnose(get_str(end, "message"))):
        if told and told.reason:
            return told.reason, f"exit code {code}: {told.message}"
    if pod.log_diagnosis and pod.log_diagnosis.message and code < KILLED:
        return f"ExitCode{code}", f"exit code {code}: {pod.log_diagnosis.message}"
    return f"ExitCode{code}", crash_message(pod, end)


def crash_message(pod: Pod, end: Object) -> str:
    """One line for a container's end: its exit code and the line of its last words that tells most."""
    code = get_int(end, "exitCode")
    words = one_line(most_telling_line(get_str(end, "message")))
    return f"exit code {code}: {words}" if words else f"exit code {code}: see kubectl logs --previous {pod.name}"


def _memory_limit(pod: Pod, container: Container) -> str:
    for spec in get_list(pod.body, "spec", "containers"):
        limit = get(spec, "resources", "limits", "memory")
        if limit and spec.get("name") == container.name:
            return f" (limit {limit})"
    return ""


def creating(pod: Pod) -> State | None:
    """On a node, but the container that runs vLLM has not started."""
    main = pod.main
    if main and (main.state.get("running") or main.state.get("terminated")):
        return None
    since = get_str(pod.scheduled, "lastTransitionTime")
    if pod.lookup_result and pod.lookup_result.reason in EVENT_REASONS:
        return State("Pulling", pod.lookup_result.reason, pod.lookup_result.message)
    for container in pod.init_containers:
        if begun := get_map(container.state, "running"):
            return State(
                "Loading", "Initializing", f"init container {container.name} runs", get_str(begun, "startedAt")
            )
    return State("Pulling", "ContainerCreating", "the node pulls the image and mounts the volumes", since)


KUBERNETES_STATES: tuple[Callable[[Pod], State | None], ...] = (
    lost,
    draining,
    failed,
    unscheduled,
    unusable,
    unpulled,
    crashing,
    creating,
)
"""In this order: the first that speaks decides."""
