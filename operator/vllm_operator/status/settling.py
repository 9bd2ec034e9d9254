"""Decide how long a status waits for Kubernetes' controllers to react to a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get, get_condition, get_int, get_list, get_str
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.build import build_status, needs_write

SETTLE_SECONDS = 5.0
"""Seconds for which every status waits: a status that is out of date within a second would cost a useless write."""

MAX_SETTLE_SECONDS = 45.0
"""Longest wait of a status that differs in transient parts only, so that it is correct within a minute."""

_TRANSIENT_FIELDS = frozenset(
    {"observedGeneration", "phase", "message", "replicas", "updatedReplicas", "replicaStatuses", "conditions"}
)
"""Fields of the status with transient parts. Every change of another field is written."""

_TRANSIENT_PHASES = frozenset({"Pending", "Scheduling"})
_TRANSIENT_REASONS = frozenset({"Starting", "RollingOut"})
_TRANSIENT_REPLICA_REASONS = frozenset({"Pending", "Terminating"})
"""Reasons of replicas that wait for the scheduler without a failure, or end as they should."""


def settling_delay(assessment: Assessment, waited_seconds: float) -> float | None:
    """Return the seconds for which the status still waits; None to write it now.

    Args:
        assessment: that of a server that `is_settling`.
        waited_seconds: seconds since it began to settle.
    """
    if waited_seconds < SETTLE_SECONDS:
        return SETTLE_SECONDS - waited_seconds
    if waited_seconds >= MAX_SETTLE_SECONDS or not _are_controllers_behind(assessment.inputs.snapshot):
        return None
    status, previous = build_status(assessment), assessment.inputs.previous
    if needs_write(previous, status) and _is_transient_change(previous, status):
        return MAX_SETTLE_SECONDS - waited_seconds
    return None


def is_settling(snapshot: Snapshot) -> bool:
    """Return True until the Deployment's controller has observed its spec and made the pods that it asks for."""
    deployment = snapshot.deployment
    return deployment is None or not _has_reacted(deployment, len(snapshot.pods), "replicas", "updatedReplicas")


def _are_controllers_behind(snapshot: Snapshot) -> bool:
    """Return True while the Deployment has fewer pods than it asks for, or its controller has not observed its spec.

    The number of updated pods does not count: in a rollout it waits until replicas serve.
    """
    deployment = snapshot.deployment
    return deployment is not None and not _has_reacted(deployment, len(snapshot.pods), "replicas")


def _has_reacted(deployment: Mapping[str, Any], pods: int, *count_fields: str) -> bool:
    if get_int(deployment, "status", "observedGeneration") < get_int(deployment, "metadata", "generation"):
        return False
    if get_str(get_condition(deployment, "ReplicaFailure"), "status") == "True":
        return True
    wanted = get(deployment, "spec", "replicas")
    wanted = wanted if isinstance(wanted, int) else 1
    return min(*(get_int(deployment, "status", field) for field in count_fields), pods) >= wanted


def _is_transient_change(previous: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Return True when only transient parts changed: no replica began to serve or failed, no condition changed."""
    fields = (previous.keys() | status.keys()) - _TRANSIENT_FIELDS
    same = all(previous.get(field) == status.get(field) for field in fields)
    return same and _lasting_parts(previous) == _lasting_parts(status)


def _lasting_parts(status: Mapping[str, Any]) -> tuple[object, ...]:
    """Return phase, conditions and replicas without their transient parts."""
    phase = get_str(status, "phase")
    conditions = {
        get_str(entry, "type"): (get_str(entry, "status"), _reason(entry)) for entry in get_list(status, "conditions")
    }
    replicas = {
        (get_str(replica, "pod"), get_str(replica, "phase"), get_str(replica, "reason"))
        for replica in get_list(status, "replicaStatuses")
        if get_str(replica, "reason") not in _TRANSIENT_REPLICA_REASONS
    }
    return "Pending" if phase in _TRANSIENT_PHASES else phase, conditions, replicas


def _reason(entry: Any) -> str:
    reason = get_str(entry, "reason")
    return "RollingOut" if reason in _TRANSIENT_REASONS else reason
