"""Find out why the claim of the cache has no volume, from its Events, with the remedy."""

from __future__ import annotations

from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.types import Object
from vllm_operator.status.condition_result import ConditionResult
from vllm_operator.status.inputs import StatusInputs

_REMEDIES = {
    "ProvisioningFailed": "; correct cache.storageClassName or cache.size, or repair {storage_class}",
    "FailedBinding": "; set cache.storageClassName to a class of the cluster (kubectl get storageclass)",
    "VolumeMismatch": "; correct the claim's volumeName, or delete the claim",
    "ExternalProvisioning": "; it waits for the provisioner of {storage_class}: check that it runs",
    "WaitForFirstConsumer": "; Kubernetes binds it when a replica has a node",
    "WaitForPodScheduled": "; Kubernetes binds it when a replica has a node",
}
"""Reason of an Event of the claim -> the remedy."""


def unbound_claim(inputs: StatusInputs) -> ConditionResult | None:
    """Return why the claim is not bound; None when it is bound, is lost or does not exist.

    Until the lookup of its Events has a result, the cause in the previous status stays.
    """
    claim = inputs.snapshot.claim
    if claim is None or get_str(claim, "status", "phase") in {"Bound", "Lost"}:
        return None
    found = inputs.lookup_results.get(get_str(claim, "metadata", "uid"))
    previous = get_condition({"status": inputs.previous}, "CacheReady")
    if found is None and get_str(previous, "reason") in _REMEDIES:
        return ConditionResult("False", get_str(previous, "reason"), get_str(previous, "message"))
    if found is None or found.reason not in _REMEDIES:
        cause = f"{_storage_class(claim)} has not provided a volume; see kubectl describe pvc {inputs.cache_claim}"
        return ConditionResult("False", "ClaimPending", f"claim {inputs.cache_claim} is not bound: {cause}")
    remedy = _REMEDIES[found.reason].format(storage_class=_storage_class(claim))
    return ConditionResult("False", found.reason, f"claim {inputs.cache_claim} is not bound: {found.message}{remedy}")


def _storage_class(claim: Object) -> str:
    name = get_str(claim, "spec", "storageClassName")
    return f"storage class {name}" if name else "the cluster's default storage class"
