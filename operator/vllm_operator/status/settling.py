"""Have Kubernetes' controllers answered to the last change yet, and is there anything to tell before they have?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.kube.fields import get, get_condition, get_int, get_list, get_str
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.build import build_status, needs_write
from vllm_operator.status.inputs import Observation

SETTLE_SECONDS = 5.0
"""How long an answer is waited for: a status that is out of date within a second is a write too many."""

PATIENT_SECONDS = 45.0
"""How long while the controllers are behind and only the way has changed: a status is true within a minute."""

_WAY_FIELDS = frozenset(
    {"observedGeneration", "phase", "message", "replicas", "updatedReplicas", "replicaStatuses", "conditions"}
)
"""Fields of the status of which a part may change on the way; of any other, every change is told."""
_WAY_PHASES = frozenset({"Pending", "Scheduling"})
_WAY_REASONS = frozenset({"Starting", "RollingOut"})
_WAY_REPLICAS = frozenset({"Pending", "Terminating"})
"""Reasons of replicas that wait for the scheduler without a complaint, or end as they should."""


def settling_delay(assessment: Assessment, waited_seconds: float) -> float | None:
    """Seconds to wait on before a status says something lasting; None when it is to be written now.

    Args:
        assessment: that of a server that `is_settling`.
        waited_seconds: seconds since it began to settle.
    """
    if waited_seconds < SETTLE_SECONDS:
        return SETTLE_SECONDS - waited_seconds
    if waited_seconds >= PATIENT_SECONDS or not _are_behind(assessment.inputs.observed):
        return None
    status, previous = build_status(assessment), assessment.inputs.previous
    if needs_write(previous, status) and _is_only_the_way(previous, status):
        return PATIENT_SECONDS - waited_seconds
    return None


def is_settling(observed: Observation) -> bool:
    """True while the Deployment's controller has not seen its spec, or has not made the pods that it asks for."""
    deployment = observed.deployment
    return deployment is None or not _is_answered(deployment, len(observed.pods), "replicas", "updatedReplicas")


def _are_behind(observed: Observation) -> bool:
    """True while controllers have work that waits for nothing. A rollout that waits for replicas to serve is none."""
    deployment = observed.deployment
    return deployment is not None and not _is_answered(deployment, len(observed.pods), "replicas")


def _is_answered(deployment: Mapping[str, Any], pods: int, *counted: str) -> bool:
    if get_int(deployment, "status", "observedGeneration") < get_int(deployment, "metadata", "generation"):
        return False
    if get_str(get_condition(deployment, "ReplicaFailure"), "status") == "True":
        return True
    wanted = get(deployment, "spec", "replicas")
    wanted = wanted if isinstance(wanted, int) else 1
    return min(*(get_int(deployment, "status", name) for name in counted), pods) >= wanted


def _is_only_the_way(previous: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether all that a user waits for or worries about is as it was: what serves, what is wrong, every condition."""
    fields = (previous.keys() | status.keys()) - _WAY_FIELDS
    same = all(previous.get(field) == status.get(field) for field in fields)
    return same and _lasting(previous) == _lasting(status)


def _lasting(status: Mapping[str, Any]) -> tuple[object, ...]:
    """The status without what changes on the way."""
    phase = get_str(status, "phase")
    verdicts = {
        get_str(entry, "type"): (get_str(entry, "status"), _reason(entry)) for entry in get_list(status, "conditions")
    }
    replicas = {
        (get_str(replica, "pod"), get_str(replica, "phase"), get_str(replica, "reason"))
        for replica in get_list(status, "replicaStatuses")
        if get_str(replica, "reason") not in _WAY_REPLICAS
    }
    return "Pending" if phase in _WAY_PHASES else phase, verdicts, replicas


def _reason(entry: Any) -> str:
    reason = get_str(entry, "reason")
    return "RollingOut" if reason in _WAY_REASONS else reason
