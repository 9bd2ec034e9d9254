"""Find the children that differ from the spec of a server whose children are not applied now."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from vllm_operator.apply.write_history import was_applied_from
from vllm_operator.informers.store import Store
from vllm_operator.kube.claims import with_immutable_claim_fields
from vllm_operator.kube.fields import get
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, CLAIM, DEPLOYMENT
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.ownership import Owner, is_child_of, is_controlled_by, is_terminating
from vllm_operator.kube.types import Object


def pending_children(
    store: Store, key: Key, owner: Owner, manifests: Iterable[Manifest], unknown_kinds: Container[str] = ()
) -> tuple[str, ...]:
    """Return the kinds of the children that the next apply would write or prune, in the order of applies.

    An edit of a person that the spec does not ask for does not count, except for the number of replicas: the hash that
    a child carries shows the manifest that it was made from, also after a restart of the operator.

    Args:
        store: the caches.
        key: the key of the server.
        owner: the server.
        manifests: all children that the spec asks for.
        unknown_kinds: kinds that the API server may not serve; their children are not pruned.
    """
    wanted = {manifest.kind: manifest for manifest in manifests}
    pending = {kind for kind, manifest in wanted.items() if not _is_carried_out(store, owner, manifest)}
    pending |= set(_unwanted(store, key, owner, wanted, unknown_kinds))
    return tuple(kind for kind in CHILD_KINDS if kind in pending)


def _is_carried_out(store: Store, owner: Owner, manifest: Manifest) -> bool:
    live = store.get(manifest.kind, owner.namespace, manifest.name)
    if live is None or not is_child_of(live, owner) or is_terminating(live):
        return False
    if manifest.kind == CLAIM.name:
        manifest = with_immutable_claim_fields(manifest, live)
    return was_applied_from(live, manifest) and _has_wanted_replicas(manifest, live)


def _has_wanted_replicas(manifest: Manifest, live: Object) -> bool:
    """Return whether a Deployment has the number of replicas in its manifest, where that has one."""
    if manifest.kind != DEPLOYMENT.name:
        return True
    replicas = get(manifest.body, "spec", "replicas")
    return replicas is None or replicas == get(live, "spec", "replicas")


def _unwanted(
    store: Store, key: Key, owner: Owner, wanted: Container[str], unknown_kinds: Container[str]
) -> Iterator[str]:
    """Yield the kinds of which the server has a child that its spec no longer asks for."""
    for kind in (kind for kind in CHILD_KINDS if kind not in wanted and kind not in unknown_kinds):
        children = (store.get(kind, key.namespace, name) for name in store.names(key, kind))
        if any(child is not None and is_controlled_by(child, owner) for child in children):
            yield kind
