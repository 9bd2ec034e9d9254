"""What has to be looked up beside the passes, because neither the watches nor the engine tell it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vllm_operator.kube.fields import get, get_int, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.inputs import Observation
from vllm_operator.status.replicas.pod import Pod, read_pod
from vllm_operator.status.replicas.pod_states import (
    FIRST_SIGNAL_EXIT_CODE,
    crashed_container,
    creating,
    image_not_pulled,
    invalid_container,
    unscheduled,
)

START_SECONDS = 15.0
"""From when a start is first seen to the first reading of its log: a small model serves by then."""

CREATE_SECONDS = 20.0
BIND_SECONDS = 10.0
KILLED_SECONDS = 2.0
PULL_SECONDS = 2.0


@dataclass(frozen=True)
class Lookup:
    """One thing that wants an explanation.

    Attributes:
        kind: of the object that it is about.
        what: what is read: the log of a container that starts, or the events of the object.
        uid: UID of the object.
        name: its name.
        container: the container whose log is read.
        run: tells this state of the object from those before and after it.
        delay: seconds from when the state is first seen to the first reading: most states pass before.
    """

    kind: Literal["Pod", "PersistentVolumeClaim"]
    what: Literal["log", "events"]
    uid: str
    name: str
    container: str
    run: str
    delay: float


def questions(observed: Observation) -> Iterator[Lookup]:
    """The questions that a server raises; none when every replica serves and the claim is bound."""
    pods = [read_pod(body) for body in observed.pods if not _ends(body)]
    for pod in pods:
        if not pod.ready and (question := _of_pod(pod)):
            yield question
    claim = observed.claim
    if claim is not None and get_str(claim, "status", "phase") == "Pending" and _is_waited_for(claim, pods):
        uid, name = get_str(claim, "metadata", "uid"), get_str(claim, "metadata", "name")
        yield Lookup("PersistentVolumeClaim", "events", uid, name, "", "pending", BIND_SECONDS)


def _ends(body: Object) -> bool:
    return bool(get_str(body, "metadata", "deletionTimestamp")) or get_str(body, "status", "phase") in {
        "Failed",
        "Succeeded",
    }


def _is_waited_for(claim: Object, pods: list[Pod]) -> bool:
    """The scheduler holds a pod back, or has chosen its node and waits for the volume there."""
    chosen = get_str(claim, "metadata", "annotations", "volume.kubernetes.io/selected-node")
    return bool(chosen) or any(get_str(pod.scheduled, "status") == "False" for pod in pods)


def _of_pod(pod: Pod) -> Lookup | None:
    if unscheduled(pod) or invalid_container(pod):
        return None
    if image_not_pulled(pod):
        return _events(pod, "pull", PULL_SECONDS)
    if found := crashed_container(pod):
        end = found[1]
        killed = get_int(end, "exitCode") >= FIRST_SIGNAL_EXIT_CODE and get_str(end, "reason") != "OOMKilled"
        return (
            _events(pod, get_str(end, "containerID") or get_str(end, "finishedAt"), KILLED_SECONDS) if killed else None
        )
    if creating(pod):
        return _events(pod, "create", CREATE_SECONDS)
    running = get(pod.main.state, "running") if pod.main else None
    if not running or not pod.main or pod.main.started:
        return None
    run = get_str(running, "containerID") or get_str(running, "startedAt")
    return Lookup("Pod", "log", _uid(pod), pod.name, pod.main.name, f"start {run}", START_SECONDS)


def _events(pod: Pod, run: str, delay: float) -> Lookup:
    return Lookup("Pod", "events", _uid(pod), pod.name, "", run, delay)


def _uid(pod: Pod) -> str:
    return get_str(pod.body, "metadata", "uid")
