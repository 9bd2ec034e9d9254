"""Read from the Deployment how far it has rolled out the spec."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get, get_condition, get_int, get_list, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.inputs import StatusInputs

_REPLICA_SET = re.compile(r'[Rr]eplica ?[Ss]et "(?:[^"]{0,512}[^"a-z0-9])?([a-z0-9]{1,253})"')
_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"


@dataclass(frozen=True, slots=True)
class RolloutState:
    """The rollout as the Deployment reports it.

    Attributes:
        exists: there is a Deployment.
        wanted: replicas asked for.
        replicas: pods of every revision.
        updated: pods of the wanted revision.
        ready: pods that Kubernetes calls ready.
        observed: the Deployment controller has observed the latest spec, and that spec has the wanted number.
        complete: every wanted replica is of the wanted revision and became available, and no older one is left.
        stuck: the progress deadline passed.
        failure: why pods cannot be created, such as a quota; empty when they can.
        revision: `pod-template-hash` of the wanted revision; empty when nothing shows it.
        is_deleting: the Deployment is being deleted, so it rolls nothing out.
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
    is_deleting: bool = False


def rollout_state(inputs: StatusInputs) -> RolloutState:
    """Read the rollout from the Deployment; without one all counts are 0 and nothing is complete."""
    deployment = inputs.snapshot.deployment
    if deployment is None:
        return RolloutState(False, max(inputs.wanted_replicas or 0, 0), 0, 0, 0, False, False, False, "", "")
    status = get(deployment, "status")
    observed = _observed(deployment, inputs)
    is_deleting = bool(get_str(deployment, "metadata", "deletionTimestamp"))
    progress = get_condition(deployment, "Progressing")
    reason = get_str(progress, "reason")
    counts = (_wanted(deployment), _count(status, "replicas"), _count(status, "updatedReplicas"))
    return RolloutState(
        True,
        *counts,
        ready=_count(status, "readyReplicas"),
        observed=observed,
        complete=observed and not is_deleting and _complete(*counts, _count(status, "availableReplicas"), reason),
        stuck=observed and reason == _DEADLINE_EXCEEDED,
        failure=_failure(deployment),
        revision=_revision(get_str(progress, "message"), counts, inputs) if observed else "",
        is_deleting=is_deleting,
    )


def _wanted(deployment: Object) -> int:
    wanted = get(deployment, "spec", "replicas")
    return max(wanted, 0) if isinstance(wanted, int) and not isinstance(wanted, bool) else 1


def _count(status: object, field: str) -> int:
    return max(get_int(status, field), 0)


def _observed(deployment: Object, inputs: StatusInputs) -> bool:
    """Return True when the Deployment's status is about the spec that is wanted now, not about one before it."""
    if get_int(deployment, "status", "observedGeneration") < get_int(deployment, "metadata", "generation"):
        return False
    is_spec_held_back = inputs.paused or bool(inputs.problems)
    is_number_free = inputs.autoscaling or inputs.wanted_replicas is None
    return is_spec_held_back or is_number_free or inputs.wanted_replicas == _wanted(deployment)


def _complete(wanted: int, replicas: int, updated: int, available: int, reason: str) -> bool:
    # A replica that fails after the rollout does not make it incomplete: Kubernetes keeps NewReplicaSetAvailable.
    return updated == wanted == replicas and (available >= wanted or reason == "NewReplicaSetAvailable")


USER_ID_MARKS = ("security context constraint", "must be in the ranges")
"""Parts of OpenShift's refusal of a pod whose user ID is not in the range of its namespace."""

USER_ID_REMEDY = "the namespace assigns its own user IDs: set spec.security.profile: openshift; "


def _failure(deployment: Object) -> str:
    entry = get_condition(deployment, "ReplicaFailure")
    if get_str(entry, "status") != "True":
        return ""
    message = get_str(entry, "message")
    # The end of a long message is cut, so the remedy comes first.
    remedy = USER_ID_REMEDY if any(mark in message for mark in USER_ID_MARKS) else ""
    return remedy + one_line(message)


def _revision(message: str, counts: tuple[int, int, int], inputs: StatusInputs) -> str:
    """Return the wanted revision: named by the Deployment, else that of the newest pod once the revision has a pod."""
    if named := _REPLICA_SET.search(message):
        return named.group(1)
    updated = counts[2]
    if not updated:
        return ""
    revisions = [
        (get_str(pod, "metadata", "creationTimestamp"), get_str(pod, "metadata", "labels", "pod-template-hash"))
        for pod in get_list({"pods": inputs.snapshot.pods}, "pods")
    ]
    return max(revisions)[1] if revisions else ""


def is_late(snapshot: Snapshot) -> bool:
    """Return True when the pods did not become available within the Deployment's progress deadline."""
    progress = get_condition(snapshot.deployment, "Progressing")
    return get_str(progress, "reason") == _DEADLINE_EXCEEDED
