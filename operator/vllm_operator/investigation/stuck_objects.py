"""List the lookups that explain stuck objects: extra reads of a log or of Events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get, get_condition, get_int, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.replicas.pod import Pod, read_pod
from vllm_operator.status.replicas.pod_memo import PodMemo
from vllm_operator.status.replicas.pod_states import (
    FIRST_SIGNAL_EXIT_CODE,
    crashed_container,
    creating,
    image_not_pulled,
    invalid_container,
    unscheduled,
)

START_SECONDS = 15.0
"""Delay before the log of a starting container is read for the first time: a small model serves by then."""

CREATE_SECONDS = 20.0
BIND_SECONDS = 10.0
KILLED_SECONDS = 2.0
PULL_SECONDS = 2.0
SCALER_SECONDS = 2.0


@dataclass(frozen=True)
class Lookup:
    """One extra read, about one object in one state.

    Attributes:
        kind: kind of the object.
        source: the log of a starting container, or the Events of the object.
        uid: UID of the object.
        name: name of the object.
        container: the container whose log is read; empty for Events.
        state: identifies this state of the object among those before and after it.
        delay: seconds from the first observation of the state to the first read: most states end before.
    """

    kind: Literal["Pod", "PersistentVolumeClaim", "ScaledObject"]
    source: Literal["log", "events"]
    uid: str
    name: str
    container: str
    state: str
    delay: float


@dataclass(frozen=True, slots=True)
class StuckPod:
    """The part of a pod that lookups need.

    Attributes:
        lookup: the lookup that explains why it does not serve; None without one.
        unscheduled: the scheduler holds it back.
    """

    lookup: Lookup | None = None
    unscheduled: bool = False


def lookups_for(snapshot: Snapshot, pods: Sequence[StuckPod]) -> Iterator[Lookup]:
    """Yield the lookups for a server; none when every replica serves and its claim is bound.

    Args:
        snapshot: the snapshot of the server.
        pods: its pods, as far as lookups need them.
    """
    yield from (pod.lookup for pod in pods if pod.lookup)
    claim = snapshot.claim
    if claim is not None and get_str(claim, "status", "phase") == "Pending" and _is_awaited(claim, pods):
        uid, name = get_str(claim, "metadata", "uid"), get_str(claim, "metadata", "name")
        yield Lookup("PersistentVolumeClaim", "events", uid, name, "", "pending", BIND_SECONDS)
    if snapshot.scaled_object is not None:
        yield from _scaler_lookup(snapshot.scaled_object)


def _scaler_lookup(body: Object) -> Iterator[Lookup]:
    """Look up why KEDA does not scale: the Events name what its conditions leave out, such as a 401."""
    failing = get_str(get_condition(body, "Ready"), "status") == "False"
    if failing or get_str(get_condition(body, "Fallback"), "status") == "True":
        uid, name = get_str(body, "metadata", "uid"), get_str(body, "metadata", "name")
        yield Lookup("ScaledObject", "events", uid, name, "", "failing", SCALER_SECONDS)


def stuck_pod(body: Object, memo: PodMemo) -> StuckPod:
    """Return what lookups need of one pod.

    Args:
        body: the pod.
        memo: the results about the pods of the server from earlier calls.
    """
    return memo.recall(body, "stuck pod", lambda: _read_stuck_pod(body))


def _read_stuck_pod(body: Object) -> StuckPod:
    if _is_ending(body):
        return StuckPod()
    pod = read_pod(body)
    lookup = None if pod.ready else _pod_lookup(pod)
    return StuckPod(lookup, unscheduled=get_str(pod.scheduled, "status") == "False")


def _is_ending(body: Object) -> bool:
    ended = get_str(body, "status", "phase") in {"Failed", "Succeeded"}
    return ended or bool(get_str(body, "metadata", "deletionTimestamp"))


def _is_awaited(claim: Object, pods: Sequence[StuckPod]) -> bool:
    """Return whether the scheduler holds a pod back, or has chosen a node and waits for the claim's volume there."""
    node = get_str(claim, "metadata", "annotations", "volume.kubernetes.io/selected-node")
    return bool(node) or any(pod.unscheduled for pod in pods)


def _pod_lookup(pod: Pod) -> Lookup | None:
    if unscheduled(pod) or invalid_container(pod):
        return None
    if image_not_pulled(pod):
        return _events_lookup(pod, "pull", PULL_SECONDS)
    if found := crashed_container(pod):
        return _kill_lookup(pod, found[1])
    if creating(pod):
        return _events_lookup(pod, "create", CREATE_SECONDS)
    return _start_lookup(pod)


def _kill_lookup(pod: Pod, termination: Object) -> Lookup | None:
    """Look up why a container was killed; the kubelet reports an OOM kill in the termination itself."""
    if get_int(termination, "exitCode") < FIRST_SIGNAL_EXIT_CODE or get_str(termination, "reason") == "OOMKilled":
        return None
    run = get_str(termination, "containerID") or get_str(termination, "finishedAt")
    return _events_lookup(pod, run, KILLED_SECONDS)


def _start_lookup(pod: Pod) -> Lookup | None:
    running = get(pod.main.state, "running") if pod.main else None
    if not running or not pod.main or pod.main.started:
        return None
    run = get_str(running, "containerID") or get_str(running, "startedAt")
    return Lookup("Pod", "log", _uid(pod), pod.name, pod.main.name, f"start {run}", START_SECONDS)


def _events_lookup(pod: Pod, state: str, delay: float) -> Lookup:
    return Lookup("Pod", "events", _uid(pod), pod.name, "", state, delay)


def _uid(pod: Pod) -> str:
    return get_str(pod.body, "metadata", "uid")
