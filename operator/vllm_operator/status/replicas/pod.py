"""Read the fields of one pod, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm_operator.api.names import CONTAINER
from vllm_operator.api.status import ReplicaPhase
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.kube.fields import get_condition, get_list, get_map, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.replicas.pod_memo import PodMemo


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """The phase of a replica and its cause.

    Attributes:
        phase: one of the phases of `replicaStatuses`.
        reason: CamelCase.
        message: the message of the component that failed.
        since: time that Kubernetes gives for the beginning of this state; empty when it gives none.
        headline: the message in a few words, for the one line of the server; the message itself when empty.
    """

    phase: ReplicaPhase
    reason: str
    message: str
    since: str = ""
    headline: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod; `state` and `last` are its current and its former ContainerState."""

    name: str
    state: Object
    last: Object
    started: bool
    ready: bool
    restarts: bool

    @property
    def waiting(self) -> str:
        """Reason for which the container waits; empty when it does not wait."""
        return get_str(self.state, "waiting", "reason")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod: the object itself, and the parts of it that every check needs.

    Attributes:
        log_diagnosis: why its container ended, from the log; None while the log is unread.
        lookup_result: the stage of its start, or the cause in its Events; None while no lookup has a result.
        memo: remembers the diagnosis of a termination message.
    """

    body: Object
    name: str
    node: str
    revision: str
    ready: bool
    readiness: Object
    scheduled: Object
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    log_diagnosis: Diagnosis | None = None
    lookup_result: Diagnosis | None = None
    memo: PodMemo = field(default_factory=PodMemo)

    @property
    def image(self) -> str:
        """The image of the container that runs vLLM; empty when the pod has none."""
        specs = {get_str(spec, "name"): get_str(spec, "image") for spec in get_list(self.body, "spec", "containers")}
        return specs.get(CONTAINER) or next(iter(specs.values()), "")

    @property
    def main(self) -> Container | None:
        """The container that runs vLLM; the first one where none has its name."""
        named = (container for container in self.containers if container.name == CONTAINER)
        return next(named, self.containers[0] if self.containers else None)


def read_pod(
    body: Object,
    log_diagnosis: Diagnosis | None = None,
    lookup_result: Diagnosis | None = None,
    memo: PodMemo | None = None,
) -> Pod:
    """Read a pod of which any field may be missing."""
    readiness = get_condition(body, "Ready")
    return Pod(
        body=body,
        name=get_str(body, "metadata", "name"),
        node=get_str(body, "spec", "nodeName"),
        revision=get_str(body, "metadata", "labels", "pod-template-hash"),
        ready=get_str(readiness, "status") == "True",
        readiness=readiness,
        scheduled=get_condition(body, "PodScheduled"),
        init_containers=_containers(body, "initContainerStatuses"),
        containers=_containers(body, "containerStatuses"),
        log_diagnosis=log_diagnosis,
        lookup_result=lookup_result,
        memo=memo or PodMemo(),
    )


def _containers(body: Object, kind: str) -> tuple[Container, ...]:
    return tuple(
        Container(
            name=get_str(status, "name"),
            state=get_map(status, "state"),
            last=get_map(status, "lastState"),
            started=status.get("started") is True or status.get("ready") is True,
            ready=status.get("ready") is True,
            restarts=bool(status.get("restartCount")),
        )
        for status in get_list(body, "status", kind)
    )
