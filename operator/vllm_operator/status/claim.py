"""Why the claim of the cache has no volume: what its events tell, with the way out."""

from __future__ import annotations

from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.condition_result import ConditionResult
from vllm_operator.status.inputs import StatusInputs

_WAYS_OUT = {
    "ProvisioningFailed": "; correct cache.storageClassName or cache.size, or repair {storage_class}",
    "FailedBinding": "; set cache.storageClassName to a class of the cluster (kubectl get storageclass)",
    "VolumeMismatch": "; correct the claim's volumeName, or delete the claim",
    "ExternalProvisioning": "; the provisioner of {storage_class} has to answer: is it running?",
    "WaitForFirstConsumer": "; it is bound when a replica has a node",
    "WaitForPodScheduled": "; it is bound when a replica has a node",
}
"""Reason of an event of the claim -> the way out."""


def unbound(inputs: StatusInputs) -> ConditionResult | None:
    """Why the claim is not bound; None when it is, is lost or does not exist. As told before until it is looked up."""
    claim = inputs.observed.claim
    if claim is None or get_str(claim, "status", "phase") in {"Bound", "Lost"}:
        return None
    found = inputs.lookup_results.get(get_str(claim, "metadata", "uid"))
    former = get_condition({"status": inputs.previous}, "CacheReady")
    if found is None and get_str(former, "reason") in _WAYS_OUT:
        return ConditionResult("False", get_str(former, "reason"), get_str(former, "message"))
    if found is None or found.reason not in _WAYS_OUT:
        words = f"{_storage_class(claim)} has not given a volume; see kubectl describe pvc {inputs.cache_claim}"
        return ConditionResult("False", "ClaimPending", f"claim {inputs.cache_claim} is not bound: {words}")
    way_out = _WAYS_OUT[found.reason].format(storage_class=_storage_class(claim))
    return ConditionResult("False", found.reason, f"claim {inputs.cache_claim} is not bound: {found.message}{way_out}")


def _storage_class(claim: Object) -> str:
    name = get_str(claim, "spec", "storageClassName")
    return f"storage class {name}" if name else "the cluster's default storage class"
