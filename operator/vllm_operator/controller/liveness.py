"""When the process is beyond help, and the kubelet is to replace it."""

from __future__ import annotations

LONGEST_PASS_SECONDS = 300.0
"""Every call of a pass ends by its own timeout, of 20 s at most, whatever the API server does: a pass that is still
under way after this waits for something that will not happen."""


def trouble(*, task_ended: bool, longest_pass: float) -> str:
    """Why the process is to be replaced; empty while it is well. An API server that is away is no reason.

    Args:
        task_ended: whether a part of the operator has ended by itself.
        longest_pass: seconds that the oldest pass under way has taken.
    """
    if task_ended:
        return "a task has ended"
    if longest_pass > LONGEST_PASS_SECONDS:
        return f"a pass over a server has not ended for {longest_pass:.0f} s"
    return ""
