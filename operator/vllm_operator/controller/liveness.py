"""Decide when the process cannot recover, so that the kubelet must replace it."""

from __future__ import annotations

LONGEST_RECONCILE_SECONDS = 300.0
"""Each call of a reconcile ends by its own timeout of 20 s at most, whatever the API server does. A reconcile that runs
longer than this will not end."""


def liveness_failure(*, task_ended: bool, longest_reconcile: float) -> str:
    """Return why the process must be replaced; empty while it works. An unreachable API server is not a reason.

    Args:
        task_ended: whether a background task of the operator has ended by itself.
        longest_reconcile: seconds since the oldest unfinished reconcile began.
    """
    if task_ended:
        return "a task has ended"
    if longest_reconcile > LONGEST_RECONCILE_SECONDS:
        return f"the reconcile of a server has not ended for {longest_reconcile:.0f} s"
    return ""
