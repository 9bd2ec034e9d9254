"""Which container's log tells why a replica is down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_operator.kube.fields import get, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.inputs import Observation
from vllm_operator.status.replicas.pod import Container, Pod, read_pod
from vllm_operator.status.replicas.pod_states import crashed_container
from vllm_operator.status.rollout import is_late


@dataclass(frozen=True)
class FailedContainer:
    """One end of one container, or one start that takes too long.

    Attributes:
        pod: name of the pod.
        uid: its UID.
        container: name of the container.
        run: tells this failure from those before and after it.
        previous: the container runs again, or waits to: the log is that of its former run.
    """

    pod: str
    uid: str
    container: str
    run: str
    previous: bool


def failures(observed: Observation) -> Iterator[FailedContainer]:
    """The failures among the pods of a server that only a log explains."""
    late = is_late(observed)
    for body in observed.pods:
        pod = read_pod(body)
        if failure := _death(pod) or (_late_start(pod) if late else None):
            yield failure


def _death(pod: Pod) -> FailedContainer | None:
    """A container died and has not come up since; None for a want of memory, which Kubernetes tells by itself."""
    found = crashed_container(pod)
    if found is None or get(found[1], "exitCode") is None or get_str(found[1], "reason") == "OOMKilled":
        return None
    container, end = found
    return _failure(pod, container, _run(end, "finishedAt"), not container.state.get("terminated"))


def _late_start(pod: Pod) -> FailedContainer | None:
    """vLLM runs and has not come up."""
    running: Object | None = pod.main.state.get("running") if pod.main else None
    if not pod.main or pod.main.started or not running:
        return None
    return _failure(pod, pod.main, f"start {_run(running, 'startedAt')}", previous=False)


def _run(state: Object, moment: str) -> str:
    return get_str(state, "containerID") or get_str(state, moment)


def _failure(pod: Pod, container: Container, run: str, previous: bool) -> FailedContainer:
    return FailedContainer(pod.name, get_str(pod.body, "metadata", "uid"), container.name, run, previous)
