"""Have Kubernetes' controllers answered to the last change yet?"""

from __future__ import annotations

from vllm_operator.api.observed import Observation
from vllm_operator.status.read import at, condition, number, text

SETTLE_SECONDS = 5.0
"""How long an answer is waited for: a status that is out of date within a second is a write too many."""


def is_settling(observed: Observation) -> bool:
    """True while the Deployment's controller has not seen its spec, or has not made the pods that it asks for."""
    deployment = observed.deployment
    if deployment is None:
        return True
    if number(deployment, "status", "observedGeneration") < number(deployment, "metadata", "generation"):
        return True
    if text(condition(deployment, "ReplicaFailure"), "status") == "True":
        return False
    wanted = at(deployment, "spec", "replicas")
    wanted = wanted if isinstance(wanted, int) else 1
    counted = (number(deployment, "status", name) for name in ("replicas", "updatedReplicas"))
    return min(*counted, len(observed.pods)) < wanted
