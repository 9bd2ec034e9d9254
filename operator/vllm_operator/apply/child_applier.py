"""One child: create it, bring it to its manifest, or delete it; and leave alone what is not ours."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_memory import AdmissionMemory
from vllm_operator.apply.drift import differs
from vllm_operator.apply.owner import Owner, is_ours, is_owned, is_terminating
from vllm_operator.apply.ownership_transfer import hand_over_replicas, is_stopped, take_fields
from vllm_operator.apply.result import OwnerGoneError, name_taken
from vllm_operator.apply.write_history import WriteHistory, is_repair, uid_of
from vllm_operator.errors import ApiError
from vllm_operator.informers.entry import key_of
from vllm_operator.informers.store import Store
from vllm_operator.kube.claims import with_immutable_claim_fields
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import CHILD_KINDS, CLAIM, DEPLOYMENT, SERVER, Kind
from vllm_operator.kube.managed_fields import forced_apply_suffices, foreign_entries
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object

NO_VERSION = "1"
"""A resource version that no object has: etcd counts the writes of the whole cluster, and its first are not objects."""

logger = logging.getLogger(__name__)


class ChildApplier:
    """Writes one child at a time.

    Args:
        client: sends the writes.
        store: the caches, which tell what there is, and take in every answer.
        attempts: tells whether a write is to be sent now, and remembers how it went.
        clock: monotonic time in seconds.
    """

    def __init__(self, client: ApiClient, store: Store, attempts: WriteHistory, clock: Callable[[], float]) -> None:
        self._client = client
        self._store = store
        self._attempts = attempts
        self._answers = AdmissionMemory(clock)
        self._taken: set[tuple[str, str, str]] = set()
        """Kind, namespace and name of foreign objects that stand in the way: they are looked at before any try."""

    async def apply(self, key: Key, server: Owner, manifest: Manifest) -> Problem | bool | None:
        """None when nothing was to be done, True when the child was written, a problem when the name is taken."""
        kind = CHILD_KINDS[manifest.kind]
        identity = (kind.name, server.namespace, manifest.name)
        if self._store.is_unlabelled(*identity):
            await self._look_at_hidden(kind, server.namespace, manifest.name)
        if self._store.verified_hash(*identity) == manifest.hash and not self._answers.is_old(
            self._store.uid(*identity)
        ):
            return None
        live = self._store.get(kind.name, server.namespace, manifest.name)
        if live is None:
            # Not in the cache means: absent, or without our labels.
            return await self._create(key, server, kind, manifest)
        return await self._update(key, server, kind, manifest, live)

    def changed_fields(self, manifest: Manifest, namespace: str) -> tuple[str, ...]:
        """Fields that the child holds otherwise than they were applied last."""
        return self._answers.changed_fields(self._store.uid(manifest.kind, namespace, manifest.name))

    def forget(self, key: Key) -> None:
        """Forget a server that is gone: no more is written to its children."""
        for kind in CHILD_KINDS:
            for name in self._store.names(key, kind):
                self._answers.forget(self._store.uid(kind, key.namespace, name))

    async def remove(self, key: Key, server: Owner, kind: Kind, name: str) -> None:
        """Delete a child that the server owns; what is not its own stays."""
        child = self._store.get(kind.name, server.namespace, name)
        if child is None or not is_owned(child, server) or is_terminating(child):
            return
        self._check_owner(key, server)
        await self._client.delete(kind, server.namespace, name, child["metadata"]["uid"])
        self._attempts.deleted("/".join((kind.name, server.namespace, name)))
        self._answers.forget(child["metadata"]["uid"])
        logger.info("%s: deleted %s %s, which the spec no longer asks for", server.key, kind.name, name)

    async def _create(self, key: Key, server: Owner, kind: Kind, manifest: Manifest) -> Problem | bool | None:
        """Apply a child that is not known to exist, unless it does: a foreign object must not be merged into."""
        self._attempts.check_failed(key, manifest, None)
        identity = (kind.name, server.namespace, manifest.name)
        is_again = self._attempts.was_complete(key, server)
        if is_again:
            self._attempts.check_budget(key, manifest, None, "/".join(identity))
            await self._look_for_owner(server)
        live: Object | None = None
        if identity in self._taken:
            live = await self._client.get(kind, server.namespace, manifest.name)
        if live is None:
            self._check_owner(key, server)
            # A conflict with nothing, as some proxies make them, is not looked into every time.
            looks = self._attempts.failures(key, manifest) % 2 == 0
            live = await self._attempts.tried(key, manifest, None, self._write_new(kind, manifest, looks))
            if live is None:
                if is_again:
                    self._attempts.wrote("/".join(identity), manifest.hash)
                return True
        if is_ours(live, server):
            self._store.put(kind.name, live)
        return await self._update(key, server, kind, manifest, live)

    async def _write_new(self, kind: Kind, manifest: Manifest, looks: bool) -> Object | None:
        """Apply what is to be new; the object when it exists already, and a look at it is wanted."""
        body = manifest.body
        metadata = body["metadata"]
        # An apply with a version creates what is absent, and is a conflict with whatever exists.
        new = {**body, "metadata": {**metadata, "resourceVersion": NO_VERSION}}
        try:
            answer = await self._client.apply(kind, new)
        except ApiError as error:
            if error.status != 409 or not looks:
                raise
            live: Object | None = await self._client.get(kind, metadata["namespace"], metadata["name"])
            if live is None:
                raise
            return live
        self._take_answer(kind, manifest.hash, body, answer)
        return None

    async def _update(
        self, key: Key, server: Owner, kind: Kind, manifest: Manifest, live: Object
    ) -> Problem | bool | None:
        """Bring a child that exists to its manifest."""
        identity = (kind.name, server.namespace, manifest.name)
        if not is_ours(live, server):
            self._taken.add(identity)
            return name_taken(manifest)
        self._taken.discard(identity)
        if is_terminating(live):
            return None
        if kind is CLAIM:
            manifest = with_immutable_claim_fields(manifest, live)
        if self._is_up_to_date(kind, manifest, live):
            self._store.mark_verified(*identity, manifest.hash)
            return None
        self._attempts.check_failed(key, manifest, live)
        self._attempts.check_budget(key, manifest, live, uid_of(live))
        self._check_owner(key, server)
        try:
            await self._attempts.tried(key, manifest, live, self._write(kind, manifest, live))
        except ApiError as error:
            if error.status == 409:
                await self._look_again(kind, live)
            raise
        self._attempts.wrote(uid_of(live), manifest.hash)
        return True

    async def _look_again(self, kind: Kind, known: Object) -> None:
        """The cache holds what is no longer there: have the next try start from what is."""
        metadata = known["metadata"]
        current = await self._client.get(kind, metadata["namespace"], metadata["name"])
        is_same = current is not None and bool(current["metadata"]["uid"] == metadata["uid"])
        if not is_same:
            self._store.remove(kind.name, {"metadata": {**metadata, "resourceVersion": ""}})
        if current is not None and (is_same or key_of(kind.name, current) is not None):
            self._store.put(kind.name, current)

    async def _look_at_hidden(self, kind: Kind, namespace: str, name: str) -> None:
        """Read a child of which the watch tells nothing, since it lost the label."""
        if known := self._store.get(kind.name, namespace, name):
            await self._look_again(kind, known)

    def _is_up_to_date(self, kind: Kind, manifest: Manifest, live: Object) -> bool:
        if not is_repair(manifest, live) or live["metadata"].get("managedFields"):
            return False
        if kind is DEPLOYMENT and is_stopped(manifest.body, live):
            return False
        if differs(manifest.body, live):
            return self._answers.holds(manifest.hash, manifest.body, live)
        self._answers.forget(uid_of(live))
        return True

    async def _write(self, kind: Kind, manifest: Manifest, live: Object) -> None:
        body = manifest.body
        forced = forced_apply_suffices(body, live)
        if not forced:
            await take_fields(self._client, kind, live)
        if kind is DEPLOYMENT and "replicas" not in body["spec"]:
            await hand_over_replicas(self._client, kind, live)
        # With its UID, an apply cannot bring back an object that was deleted meanwhile.
        meant = {**body, "metadata": {**body["metadata"], "uid": live["metadata"]["uid"]}}
        answer = await self._client.apply(kind, meant)
        if forced and foreign_entries(live) and foreign_entries(answer):
            await take_fields(self._client, kind, answer)
            answer = await self._client.apply(kind, meant)
        self._take_answer(kind, manifest.hash, body, answer)

    def _take_answer(self, kind: Kind, applied: str, body: Object, answer: Object) -> None:
        """Keep what the API server made of a manifest."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        self._answers.note(applied, body, answer, differs=differs(body, answer))
        if self._store.put(kind.name, answer) and not foreign_entries(answer):
            self._store.mark_verified(kind.name, namespace, name, applied)

    async def _look_for_owner(self, server: Owner) -> None:
        """Ask the API server for the owner of a child that was deleted, and keep the answer.

        The garbage collector deletes the children of a deleted server. While the watch on servers is blind, the cache
        still holds it, and making its children again would go on for as long.
        """
        # The collector, too, heard of the deletion from the API server's cache: what that holds still is there.
        current = await self._client.get(SERVER, server.namespace, server.name, cached=True)
        if not _is(current, server):
            # But another API server's cache may not know a new server yet, and nothing forgotten comes back.
            current = await self._client.get(SERVER, server.namespace, server.name)
        if not _is(current, server):
            metadata = {"namespace": server.namespace, "name": server.name, "uid": server.uid}
            self._store.remove(SERVER.name, {"metadata": metadata})
        if current is not None:
            self._store.put(SERVER.name, current)

    def _check_owner(self, key: Key, server: Owner) -> None:
        if not self._store.has_server(key, server.uid):
            raise OwnerGoneError(server)


def _is(found: Object | None, server: Owner) -> bool:
    """Whether what was found is this very server."""
    return found is not None and bool(found["metadata"]["uid"] == server.uid)
