"""Read one server's children out of the caches."""

from __future__ import annotations

from vllm_operator.api.names import child_name
from vllm_operator.informers.store import Store
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CLAIM
from vllm_operator.status.inputs import Observation


def observe(store: Store, key: Key, server: str, cache_claim: str | None) -> Observation:
    """The children of `server` as the caches hold them.

    Args:
        store: the caches.
        key: the server's key.
        server: its full name.
        cache_claim: name of the claim that holds the cache. Claims of others are not watched, and then absent.
    """
    name = child_name(server)
    return Observation(
        deployment=store.get("Deployment", key.namespace, name),
        claim=store.get(CLAIM.name, key.namespace, cache_claim) if cache_claim else None,
        autoscaler=store.get("HorizontalPodAutoscaler", key.namespace, name),
        pods=store.pods(key),
    )
