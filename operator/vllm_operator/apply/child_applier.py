"""Create one child, bring it to its manifest, or delete it; leave objects of other owners alone."""

from __future__ import annotations

import logging

from vllm_operator.apply.drift import differs
from vllm_operator.apply.ownership_transfer import is_scaled_to_zero, take_ownership, transfer_replicas
from vllm_operator.apply.result import (
    ChildResult,
    Failed,
    NameTaken,
    OwnerGone,
    RepairLimitError,
    Unchanged,
    Written,
    name_taken_problem,
    result_of_error,
)
from vllm_operator.apply.write_history import WriteHistory, was_applied_from
from vllm_operator.errors import ApiError
from vllm_operator.informers.entry import key_of
from vllm_operator.informers.store import Store
from vllm_operator.kube.claims import with_immutable_claim_fields
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, CLAIM, DEPLOYMENT, SERVER, Kind
from vllm_operator.kube.managed_fields import forced_apply_suffices, foreign_entries
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.ownership import Owner, is_child_of, is_controlled_by, is_terminating
from vllm_operator.kube.types import Object

UNUSED_VERSION = "1"
"""A resource version that no object has: etcd counts the writes of the whole cluster, and its first are not objects."""

logger = logging.getLogger(__name__)


class ChildApplier:
    """Apply and delete the children of one server, one child at a time.

    Args:
        client: the API client.
        store: the caches. They hold the live children, and receive every response.
        key: the key of the server.
        owner: the server.
        history: its earlier writes, which decide whether another one is sent now.
    """

    def __init__(self, client: ApiClient, store: Store, key: Key, owner: Owner, history: WriteHistory) -> None:
        self._client = client
        self._store = store
        self._key = key
        self._owner = owner
        self._history = history

    async def apply(self, manifest: Manifest) -> ChildResult:
        """Create the child or bring it to its manifest, where the live child differs from it."""
        try:
            return await self._apply(CHILD_KINDS[manifest.kind], manifest)
        except ApiError as error:
            return result_of_error(manifest, error)

    async def delete(self, kind: Kind, name: str) -> bool:
        """Delete a child that the server owns; return False when the server itself is gone.

        Raises:
            ApiError: the delete failed.
        """
        child = self._store.get(kind.name, self._owner.namespace, name)
        if child is None or not is_controlled_by(child, self._owner) or is_terminating(child):
            return True
        if not self._owner_exists():
            return False
        await self._client.delete(kind, self._owner.namespace, name, child["metadata"]["uid"])
        self._history.record_delete(self._place(kind, name), child["metadata"]["uid"])
        logger.info("%s: deleted %s %s, which the spec no longer asks for", self._owner.key, kind.name, name)
        return True

    async def _apply(self, kind: Kind, manifest: Manifest) -> ChildResult:
        place = (kind.name, self._owner.namespace, manifest.name)
        if self._store.is_unlabelled(*place) and (unlabelled := self._store.get(*place)):
            # The watches do not report an object without our label, so the cached one may be out of date.
            await self._read_again(kind, unlabelled)
        is_verified = self._store.verified_hash(*place) == manifest.hash
        if is_verified and not self._history.admission.needs_recheck(self._store.uid(*place)):
            return Unchanged()
        live = self._store.get(*place)
        if live is None:
            # An object that the cache does not hold is absent, or lacks our labels.
            return await self._create(kind, manifest)
        return await self._update(kind, manifest, live)

    async def _create(self, kind: Kind, manifest: Manifest) -> ChildResult:
        """Apply a child that is absent from the cache; do not merge it into an object of another owner."""
        if error := self._history.recent_error(manifest, ""):
            return result_of_error(manifest, error)
        place = self._place(kind, manifest.name)
        is_recreation = self._history.was_complete(self._owner.uid)
        if is_recreation:
            if delay := self._history.repair_delay(manifest, None, place):
                return Failed(RepairLimitError(manifest, None, delay))
            await self._read_owner_again()
        live: Object | None = None
        if self._history.is_name_taken(kind.name, manifest.name):
            live = await self._client.get(kind, self._owner.namespace, manifest.name)
        if live is None:
            if not self._owner_exists():
                return OwnerGone()
            # Some proxies report conflicts with absent objects: read the object after every second one only.
            reads = self._history.failure_count(manifest) % 2 == 0
            live = await self._history.attempt(manifest, "", self._create_or_read(kind, manifest, reads=reads))
            if live is None:
                if is_recreation:
                    self._history.record_repair(place, manifest)
                return Written()
        if is_child_of(live, self._owner):
            self._store.put(kind.name, live)
        return await self._update(kind, manifest, live)

    async def _create_or_read(self, kind: Kind, manifest: Manifest, *, reads: bool) -> Object | None:
        """Apply a child that must be new; return None, or the object that exists already.

        Args:
            kind: the kind of the child.
            manifest: its manifest.
            reads: read an object that exists; else raise the conflict with it.
        """
        body = manifest.body
        metadata = body["metadata"]
        # An apply with a resource version creates an absent object, and is a conflict with any object that exists.
        new = {**body, "metadata": {**metadata, "resourceVersion": UNUSED_VERSION}}
        try:
            response = await self._client.apply(kind, new)
        except ApiError as error:
            if error.status != 409 or not reads:
                raise
            live: Object | None = await self._client.get(kind, metadata["namespace"], metadata["name"])
            if live is None:
                raise
            return live
        self._store_response(kind, manifest.hash, body, response)
        return None

    async def _update(self, kind: Kind, manifest: Manifest, live: Object) -> ChildResult:
        """Bring a child that exists to its manifest."""
        is_ours = is_child_of(live, self._owner)
        self._history.set_name_taken(kind.name, manifest.name, taken=not is_ours)
        if not is_ours:
            return NameTaken(name_taken_problem(manifest))
        if is_terminating(live):
            return Unchanged()
        if kind is CLAIM:
            manifest = with_immutable_claim_fields(manifest, live)
        if self._is_up_to_date(kind, manifest, live):
            self._store.mark_verified(kind.name, self._owner.namespace, manifest.name, manifest.hash)
            return Unchanged()
        uid = get_str(live, "metadata", "uid")
        if error := self._history.recent_error(manifest, uid):
            return result_of_error(manifest, error)
        if delay := self._history.repair_delay(manifest, live, uid):
            return Failed(RepairLimitError(manifest, live, delay))
        if not self._owner_exists():
            return OwnerGone()
        try:
            await self._history.attempt(manifest, uid, self._write(kind, manifest, live))
        except ApiError as error:
            if error.status == 409:
                await self._read_again(kind, live)
            raise
        self._history.record_repair(uid, manifest)
        return Written()

    async def _read_again(self, kind: Kind, cached: Object) -> None:
        """Replace an outdated object in the cache, so that the next try starts from the live one."""
        metadata = cached["metadata"]
        current = await self._client.get(kind, metadata["namespace"], metadata["name"])
        is_same = current is not None and bool(current["metadata"]["uid"] == metadata["uid"])
        if not is_same:
            self._store.remove(kind.name, {"metadata": {**metadata, "resourceVersion": ""}})
        if current is not None and (is_same or key_of(kind.name, current) is not None):
            self._store.put(kind.name, current)

    def _is_up_to_date(self, kind: Kind, manifest: Manifest, live: Object) -> bool:
        """Return whether the live child needs no write: this is where drift is judged.

        It needs none when no other writer owns a part of it, and it matches its manifest or differs only by admission
        changes. The cache keeps managed fields only where another writer owns fields (`informers/entry.py`).
        """
        if not was_applied_from(live, manifest) or live["metadata"].get("managedFields"):
            return False
        if kind is DEPLOYMENT and is_scaled_to_zero(manifest.body, live):
            return False
        if differs(manifest.body, live):
            return self._history.admission.explains(manifest.hash, manifest.body, live)
        self._history.admission.forget(get_str(live, "metadata", "uid"))
        return True

    async def _write(self, kind: Kind, manifest: Manifest, live: Object) -> None:
        """Apply the manifest, and remove the fields of other managers that an apply by force leaves."""
        body = manifest.body
        forced = forced_apply_suffices(body, live)
        if not forced:
            await take_ownership(self._client, kind, live)
        if kind is DEPLOYMENT and "replicas" not in body["spec"]:
            await transfer_replicas(self._client, kind, live)
        # With the UID, an apply cannot bring back an object that was deleted in between.
        sent = {**body, "metadata": {**body["metadata"], "uid": live["metadata"]["uid"]}}
        response = await self._client.apply(kind, sent)
        if forced and foreign_entries(live) and foreign_entries(response):
            await take_ownership(self._client, kind, response)
            response = await self._client.apply(kind, sent)
        self._store_response(kind, manifest.hash, body, response)

    def _store_response(self, kind: Kind, manifest_hash: str, body: Object, response: Object) -> None:
        """Cache the object that the API server stored for a manifest, and remember its admission changes."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        self._history.admission.record(manifest_hash, body, response, differs=differs(body, response))
        if self._store.put(kind.name, response) and not foreign_entries(response):
            self._store.mark_verified(kind.name, namespace, name, manifest_hash)

    async def _read_owner_again(self) -> None:
        """Read the owner of a child that was deleted, and cache it.

        The garbage collector deletes the children of a deleted server. While the watch on servers is interrupted, the
        cache still holds the server, and the operator would create its children again and again.
        """
        owner = self._owner
        # The garbage collector reads this cache of the API server, too: it keeps the children of an owner found there.
        current = await self._client.get(SERVER, owner.namespace, owner.name, cached=True)
        if not _is(current, owner):
            # The cache of another API server may lag behind; a server that our cache drops by mistake gets no event.
            current = await self._client.get(SERVER, owner.namespace, owner.name)
        if not _is(current, owner):
            metadata = {"namespace": owner.namespace, "name": owner.name, "uid": owner.uid}
            self._store.remove(SERVER.name, {"metadata": metadata})
        if current is not None:
            self._store.put(SERVER.name, current)

    def _owner_exists(self) -> bool:
        return self._store.has_server(self._key, self._owner.uid)

    def _place(self, kind: Kind, name: str) -> str:
        """Return the name that counts the recreations of a child, since each new child has another UID."""
        return "/".join((kind.name, self._owner.namespace, name))


def _is(found: Object | None, owner: Owner) -> bool:
    """Return whether the object that was read is this very server."""
    return found is not None and bool(found["metadata"]["uid"] == owner.uid)
