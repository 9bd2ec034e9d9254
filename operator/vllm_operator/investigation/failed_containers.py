"""Find the containers whose log explains why a replica is down."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.kube.fields import get, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.replicas.pod import Container, Pod, read_pod
from vllm_operator.status.replicas.pod_memo import PodMemo
from vllm_operator.status.replicas.pod_states import crashed_container


@dataclass(frozen=True)
class FailedContainer:
    """One exit of a container, or one start that takes too long.

    Attributes:
        pod: name of the pod.
        uid: UID of the pod.
        container: name of the container.
        run: identifies this run of the container among those before and after it.
        previous: the container runs again, or is about to, so that the log of its previous run counts.
    """

    pod: str
    uid: str
    container: str
    run: str
    previous: bool


def failed_container(body: Object, late: bool, memo: PodMemo) -> FailedContainer | None:
    """Return the failure of one pod that only a log explains.

    Args:
        body: the pod.
        late: the progress deadline passed, so that a start that lasts counts as a failure.
        memo: the results about the pods of the server from earlier calls.
    """

    def find() -> FailedContainer | None:
        pod = read_pod(body)
        return _crash(pod) or (_late_start(pod) if late else None)

    return memo.recall(body, "failed container", find, late)


def _crash(pod: Pod) -> FailedContainer | None:
    """Return a container that crashed and has not recovered; None for an OOM kill, whose reason needs no log."""
    found = crashed_container(pod)
    if found is None or get(found[1], "exitCode") is None or get_str(found[1], "reason") == "OOMKilled":
        return None
    container, termination = found
    previous = not container.state.get("terminated")
    return _failed_container(pod, container, _run(termination, "finishedAt"), previous)


def _late_start(pod: Pod) -> FailedContainer | None:
    """Return the container of vLLM while it runs and has not started up."""
    running: Object | None = pod.main.state.get("running") if pod.main else None
    if not pod.main or pod.main.started or not running:
        return None
    return _failed_container(pod, pod.main, f"start {_run(running, 'startedAt')}", previous=False)


def _run(state: Object, time_field: str) -> str:
    return get_str(state, "containerID") or get_str(state, time_field)


def _failed_container(pod: Pod, container: Container, run: str, previous: bool) -> FailedContainer:
    return FailedContainer(pod.name, get_str(pod.body, "metadata", "uid"), container.name, run, previous)
