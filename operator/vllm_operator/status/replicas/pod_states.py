"""States of a pod that Kubernetes itself names: from the scheduler, the kubelet and the container runtime.

Each function looks for one thing that is wrong or not there yet, and returns None when it does not find it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vllm_operator.diagnosis.causes import diagnose
from vllm_operator.diagnosis.event_reasons import PULL_SECRET
from vllm_operator.diagnosis.event_reasons import REASONS as HAPPENINGS
from vllm_operator.diagnosis.log_text import cause, line, reason
from vllm_operator.kube.fields import at, condition, earlier, items, mapping, number, seconds_between, text
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
    why = text(pod.body, "status", "reason")
    silent = text(pod.readiness, "reason") in _NODE_LOST or _marked_by_node_controller(pod)
    if text(pod.body, "status", "phase") != "Unknown" and why not in _NODE_LOST and not silent:
        return None
    words = f"node {pod.node or '?'} does not report: look at it with kubectl describe node"
    return State("Unknown", "NodeLost", words, text(pod.readiness, "lastTransitionTime"))


def _marked_by_node_controller(pod: Pod) -> bool:
    """A kubelet gives a reason when a pod is not ready; the node controller, which stands in for it, gives none."""
    not_ready = text(pod.readiness, "status") == "False" and not text(pod.readiness, "reason")
    return not_ready and bool(pod.node) and any(container.ready for container in pod.containers)


def draining(pod: Pod) -> State | None:
    """The pod is being deleted and finishes what it has."""
    deadline = text(pod.body, "metadata", "deletionTimestamp")
    if not deadline:
        return None
    grace = number(pod.body, "metadata", "deletionGracePeriodSeconds")
    words = f"finishes its requests, within {grace} s"
    if why := _disruption(pod):
        words = f"{why}; {words}"
    # Kubernetes writes the moment at which the pod will be killed, not the one at which it was told to stop.
    return State("Draining", "Terminating", words, earlier(deadline, grace))


def _disruption(pod: Pod) -> str:
    """Why Kubernetes itself ends the pod: preemption, eviction, a taint; empty when a person or a rollout does."""
    entry = condition(pod.body, "DisruptionTarget")
    if text(entry, "status") != "True":
        return ""
    return text(entry, "message") or text(entry, "reason")


def failed(pod: Pod) -> State | None:
    """The pod ended and will not run again: evicted, preempted or completed."""
    phase = text(pod.body, "status", "phase")
    if phase not in {"Failed", "Succeeded"}:
        return None
    why = reason(text(pod.body, "status", "reason"), "Ended")
    words = text(pod.body, "status", "message") or _disruption(pod)
    words = words or f"the pod ended with phase {phase}; another one takes its place"
    ends = (text(container.state, "terminated", "finishedAt") for container in pod.containers)
    return State("Failed", why, words, next(filter(None, ends), text(pod.body, "status", "startTime")))


def unscheduled(pod: Pod) -> State | None:
    """No node took the pod yet; the scheduler says why."""
    status = text(pod.scheduled, "status")
    if status == "True" or pod.node:
        return None
    since = text(pod.scheduled, "lastTransitionTime") or text(pod.body, "metadata", "creationTimestamp")
    words = text(pod.scheduled, "message")
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
    return line(words.partition(" preemption:")[0].rstrip("."), 300)


def unusable(pod: Pod) -> State | None:
    """The kubelet cannot create the container as it is written, such as for a missing Secret."""
    for container in (*pod.init_containers, *pod.containers):
        if container.waiting in _UNUSABLE:
            words = text(container.state, "waiting", "message") or "the kubelet gives no message"
            return State("Failed", container.waiting, words, text(pod.scheduled, "lastTransitionTime"))
    return None


def unpulled(pod: Pod) -> State | None:
    """The image cannot be pulled; the kubelet tries again for ever.

    `ErrImagePull` and `ImagePullBackOff` take turns at every attempt: both are told in the same words here.
    """
    for container in (*pod.init_containers, *pod.containers):
        if container.waiting in _UNPULLED:
            words = text(container.state, "waiting", "message")
            words = _BACK_OFF.sub("", words) or words or "the image cannot be pulled"
            if pod.finding and pod.finding.reason == PULL_SECRET:
                words = f"{words}; {pod.finding.message}"
            return State("Pulling", IMAGE_PULL_BACK_OFF, words, text(pod.scheduled, "lastTransitionTime"))
    return None


def crashing(pod: Pod) -> State | None:
    """A container died and has not come up since."""
    found = crashed(pod)
    return _crash_state(pod, *found) if found else None


def crashed(pod: Pod) -> tuple[Container, Object] | None:
    """The container that died and has not come up since, and how it ended."""
    for container in pod.init_containers:
        if (end := _crash(container)) and at(end, "exitCode") != 0:
            return container, end
    for container in pod.containers:
        # A server is not to end at all: vLLM ends with exit code 0 when its engine process was killed.
        if end := _crash(container):
            return container, end
    return None


def _crash(container: Container) -> Object | None:
    """How the container ended, when it ended and no later start got through; None otherwise."""
    if container.waiting == "CrashLoopBackOff":
        return mapping(container.last, "terminated") or mapping(container.state, "waiting")
    if now := mapping(container.state, "terminated"):
        return now
    before = mapping(container.last, "terminated")
    if not container.restarts or container.started or not before:
        return None
    # A start takes minutes: without this the replica would be called Loading between any two crashes.
    return None if _ran_long(before) else before


def _ran_long(end: Object) -> bool:
    lasted = seconds_between(text(end, "startedAt"), text(end, "finishedAt"))
    return lasted is not None and lasted >= LONG_RUN


def _crash_state(pod: Pod, container: Container, end: Object) -> State:
    since = text(end, "finishedAt")
    if text(end, "reason") == "OOMKilled":
        words = f"container {container.name} was killed for want of memory{_memory_limit(pod, container)}"
        return State("CrashLooping", "OOMKilled", f"{words}: raise resources.limits.memory", since)
    if at(end, "exitCode") is None:
        return State("CrashLooping", "CrashLoopBackOff", text(end, "message") or "the container keeps ending", since)
    return State("CrashLooping", *_ending(pod, end), since)


def _ending(pod: Pod, end: Object) -> tuple[str, str]:
    """Reason and message of an end: what the log tells comes first, for its cause stands far above the last words."""
    code = number(end, "exitCode")
    if code >= KILLED and pod.finding and pod.finding.reason == "Killing":
        return "Killing", f"exit code {code}: {pod.finding.message}"
    for told in (pod.diagnosis, diagnose(text(end, "message"))):
        if told and told.reason:
            return told.reason, f"exit code {code}: {told.message}"
    if pod.diagnosis and pod.diagnosis.message and code < KILLED:
        return f"ExitCode{code}", f"exit code {code}: {pod.diagnosis.message}"
    return f"ExitCode{code}", crash_message(pod, end)


def crash_message(pod: Pod, end: Object) -> str:
    """One line for a container's end: its exit code and the line of its last words that tells most."""
    code = number(end, "exitCode")
    words = line(cause(text(end, "message")))
    return f"exit code {code}: {words}" if words else f"exit code {code}: see kubectl logs --previous {pod.name}"


def _memory_limit(pod: Pod, container: Container) -> str:
    for spec in items(pod.body, "spec", "containers"):
        limit = at(spec, "resources", "limits", "memory")
        if limit and spec.get("name") == container.name:
            return f" (limit {limit})"
    return ""


def creating(pod: Pod) -> State | None:
    """On a node, but the container that runs vLLM has not started."""
    main = pod.main
    if main and (main.state.get("running") or main.state.get("terminated")):
        return None
    since = text(pod.scheduled, "lastTransitionTime")
    if pod.finding and pod.finding.reason in HAPPENINGS:
        return State("Pulling", pod.finding.reason, pod.finding.message)
    for container in pod.init_containers:
        if begun := mapping(container.state, "running"):
            return State("Loading", "Initializing", f"init container {container.name} runs", text(begun, "startedAt"))
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
