"""Whether it is the operator that cannot reach the replicas, rather than a replica that does not answer."""

from __future__ import annotations

from vllm_operator.status.assessment import Assessment

_UNREACHED = {"Timeout", "Unreachable"}


def cut_off(view: Assessment) -> str:
    """What to say when no replica on several nodes answers, though the kubelets call all of them ready; else empty.

    One replica, or one node, may be to blame by itself; several nodes at once rather are the way to them.
    """
    living = [replica for replica in view.replicas if not replica.gone]
    if not all(replica.ready and replica.reason in _UNREACHED for replica in living):
        return ""
    nodes = {replica.node for replica in living if replica.node}
    if len(nodes) < 2:
        return ""
    return (
        f"the operator reaches none of {len(living)} replicas on {len(nodes)} nodes, and Kubernetes calls all of them "
        "ready: look at the operator's own network, and for a NetworkPolicy that keeps it out"
    )
