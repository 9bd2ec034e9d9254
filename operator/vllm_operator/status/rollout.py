"""How far the Deployment has rolled out what the spec asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.kube.fields import get, get_condition, get_int, get_list, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.inputs import Observation, StatusInputs

_REPLICA_SET = re.compile(r'[Rr]eplica ?[Ss]et "[^"]*?([a-z0-9]+)"')


@dataclass(frozen=True, slots=True)
class RolloutState:
    """A Deployment's word on its rollout.

    Attributes:
        exists: there is a Deployment.
        wanted: replicas asked for.
        replicas: pods of every revision.
        updated: pods of the wanted revision.
        ready: pods that Kubernetes calls ready.
        observed: the Deployment controller has seen the latest spec, and that has the wanted number.
        complete: every wanted replica is of the wanted revision and came up, none is left of an older one.
        stuck: the progress deadline passed.
        failure: why pods cannot be created, such as a quota; empty when they can.
        revision: `pod-template-hash` of the wanted revision; empty when nothing tells it.
        ends: the Deployment is being deleted, so that nothing is rolled out by it.
    """

    exists: bool
    wanted: int
    replicas: int
    updated: int
    ready: int
    observed: bool
    complete: bool
    stuck: bool
    failure: str
    revision: str
    ends: bool = False


def rollout_state(inputs: StatusInputs) -> RolloutState:
    """Read the rollout from the Deployment; without one everything is 0 and nothing is complete."""
    deployment = inputs.observed.deployment
    if deployment is None:
        return RolloutState(False, max(inputs.wanted_replicas or 0, 0), 0, 0, 0, False, False, False, "", "")
    status = get(deployment, "status")
    observed = _observed(deployment, inputs)
    progress = get_condition(deployment, "Progressing")
    counts = (_wanted(deployment), _count(status, "replicas"), _count(status, "updatedReplicas"))
    return RolloutState(
        True,
        *counts,
        ready=_count(status, "readyReplicas"),
        observed=observed,
        complete=observed
        and not _ends(deployment)
        and _complete(*counts, _count(status, "availableReplicas"), get_str(progress, "reason")),
        stuck=observed and get_str(progress, "reason") == "ProgressDeadlineExceeded",
        failure=_failure(deployment),
        revision=_revision(get_str(progress, "message"), counts, inputs) if observed else "",
        ends=_ends(deployment),
    )


def _ends(deployment: Object) -> bool:
    return bool(get_str(deployment, "metadata", "deletionTimestamp"))


def _wanted(deployment: Object) -> int:
    asked = get(deployment, "spec", "replicas")
    return max(asked, 0) if isinstance(asked, int) and not isinstance(asked, bool) else 1


def _count(status: object, field: str) -> int:
    return max(get_int(status, field), 0)


def _observed(deployment: Object, inputs: StatusInputs) -> bool:
    """Whether the Deployment's status speaks of what is wanted now, rather than of a spec before."""
    if get_int(deployment, "status", "observedGeneration") < get_int(deployment, "metadata", "generation"):
        return False
    held = inputs.paused or bool(inputs.problems) or inputs.autoscaling or inputs.wanted_replicas is None
    return held or inputs.wanted_replicas == _wanted(deployment)


def _complete(wanted: int, replicas: int, updated: int, available: int, reason: str) -> bool:
    # A replica that fails after the rollout does not make it incomplete: Kubernetes keeps NewReplicaSetAvailable.
    return updated == wanted == replicas and (available >= wanted or reason == "NewReplicaSetAvailable")


def _failure(deployment: Object) -> str:
    entry = get_condition(deployment, "ReplicaFailure")
    return one_line(get_str(entry, "message")) if get_str(entry, "status") == "True" else ""


def _revision(message: str, counts: tuple[int, int, int], inputs: StatusInputs) -> str:
    """The wanted revision: named by the Deployment, else that of the newest pod once one of it exists."""
    if named := _REPLICA_SET.search(message):
        return named.group(1)
    if not counts[2]:
        return ""
    born = [
        (get_str(pod, "metadata", "creationTimestamp"), get_str(pod, "metadata", "labels", "pod-template-hash"))
        for pod in get_list({"pods": inputs.observed.pods}, "pods")
    ]
    return max(born)[1] if born else ""


def is_late(observed: Observation) -> bool:
    """True when pods did not come up within the Deployment's progress deadline."""
    progress = get_condition(observed.deployment, "Progressing")
    return get_str(progress, "reason") == "ProgressDeadlineExceeded"
