"""The bounds of the replicas in the status."""

from __future__ import annotations

from typing import Any

from vllm_operator.kube.fields import format_timestamp
from vllm_operator.status.inputs import StatusInputs


def bounds_status(inputs: StatusInputs) -> dict[str, Any] | None:
    """Return the bounds in force, and their next change; None without autoscaling."""
    if inputs.bounds is None:
        return None
    bounds, following, until = inputs.bounds.bounds, inputs.bounds.following, inputs.bounds.until
    status: dict[str, Any] = {"minReplicas": bounds.min_replicas, "maxReplicas": bounds.max_replicas}
    if inputs.floor is not None:
        status["raisedMinReplicas"] = inputs.floor.replicas
    if following is not None and until is not None:
        status["next"] = {
            "time": format_timestamp(until),
            "minReplicas": following.min_replicas,
            "maxReplicas": following.max_replicas,
        }
    return status


def floor_message(inputs: StatusInputs) -> str:
    """Return why the floor is raised, and until when; empty while it is not."""
    floor = inputs.floor
    if floor is None:
        return ""
    cause = f", since there were {floor.cause}" if floor.cause else ""
    return (
        f"fastPath keeps at least {floor.replicas} replicas since {format_timestamp(floor.since)}{cause}, until the "
        "autoscaler asks for as many itself or the load is gone"
    )
