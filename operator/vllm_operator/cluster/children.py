"""Apply what the plan wants, remove what it no longer wants, and leave alone what is not ours."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import TypeVar

from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.api.observed import Object, Problem
from vllm_operator.cluster.client import ApiClient
from vllm_operator.cluster.drift import differs, foreign_entries
from vllm_operator.cluster.force import force_suffices
from vllm_operator.cluster.handover import hand_over_replicas, is_stopped, take_fields
from vllm_operator.cluster.kinds import CHILDREN, CLAIM, DEPLOYMENT, SERVER, Kind
from vllm_operator.cluster.outcome import (
    ContestedError,
    Outcome,
    OwnerGoneError,
    fight_note,
    is_final,
    name_taken,
    refusal,
)
from vllm_operator.cluster.ownership import Owner, is_ours, is_owned, is_terminating
from vllm_operator.cluster.repairs import FailedWrites, KnownAnswers, RepairBudget
from vllm_operator.cluster.store import Key, Store, key_of
from vllm_operator.errors import ApiError, NotLeaderError
from vllm_operator.plan.cache import beside
from vllm_operator.plan.manifest import Manifest

T = TypeVar("T")

NO_VERSION = "1"
"""A resource version that no object has: etcd counts the writes of the whole cluster, and its first are not objects."""

NAMESPACE = ("Namespace", "")
"""Stands among the failed writes for all of them: nothing more can be made in a namespace that ends."""

logger = logging.getLogger(__name__)


class Children:
    """Writes the children of servers."""

    def __init__(self, client: ApiClient, store: Store, clock: Callable[[], float]) -> None:
        self._client = client
        self._store = store
        self._repairs = RepairBudget(clock)
        self._answers = KnownAnswers()
        self._clock = clock
        self._failed: dict[Key, FailedWrites] = {}
        self._fights: dict[Key, dict[str, str]] = {}
        """Children that were repaired again and again, by what their repairs are counted, and what is told of each."""
        self._taken: set[tuple[str, str, str]] = set()
        """Kind, namespace and name of foreign objects that stand in the way: they are looked at before any try."""
        self._complete: dict[Key, str] = {}
        """UIDs of the servers that had all their children once: what they lack was deleted."""

    def forget(self, key: Key) -> None:
        """Forget a server that is gone."""
        self._complete.pop(key, None)
        self._failed.pop(key, None)
        self._fights.pop(key, None)

    def retry_failed(self) -> None:
        """Send what failed at the next pass, however short a time ago: a common cause has passed."""
        self._failed.clear()

    async def apply(self, key: Key, server: Owner, manifests: Sequence[Manifest]) -> Outcome:
        """Apply every manifest that is new, changed or drifted, all at once.

        Raises:
            ApiError: a failure that may pass; refusals of single children are in the outcome instead.
                Where the namespace ends, its refusal: again, without a request, while it is too soon to try.
        """
        if (failures := self._failed.get(key)) and (ending := failures.known(NAMESPACE, server.uid, "")):
            raise ending.with_traceback(None)
        results = await asyncio.gather(
            *(self._apply_one(key, server, manifest) for manifest in manifests), return_exceptions=True
        )
        self._check_namespace(key, server, results)
        pairs = list(zip(manifests, results, strict=True))
        written = [m for m, result in pairs if result is True]
        if written:
            logger.info("%s: applied %s", key, ", ".join(m.kind for m in written))
        for manifest, result in pairs:
            if isinstance(result, BaseException) and not is_final(manifest, result):
                raise result
        self._complete[key] = server.uid
        refused = [(m, result) for m, result in pairs if isinstance(result, ApiError) and result.is_refusal]
        return Outcome(
            problems=(
                *(refusal(m, error) for m, error in refused if not CHILDREN[m.kind].optional),
                *(result for result in results if isinstance(result, Problem)),
            ),
            written=tuple(m.kind for m in written),
            edited=tuple(m.kind for m in written if self._is_edited(m, server.namespace)),
            unmonitored=tuple(refusal(m, error) for m, error in refused if CHILDREN[m.kind].optional),
            contested=self._contested(key),
            vanished=tuple(m.kind for m, result in pairs if isinstance(result, ApiError) and result.kind_gone),
        )

    def _check_namespace(self, key: Key, server: Owner, results: Iterable[object]) -> None:
        """Raise the refusal of a namespace that ends: Kubernetes deletes the server too, if not as the first."""
        for result in results:
            if isinstance(result, ApiError) and result.namespace_ends:
                self._failed.setdefault(key, FailedWrites(self._clock)).note(NAMESPACE, server.uid, "", result)
                raise result

    def _is_edited(self, manifest: Manifest, namespace: str) -> bool:
        identity = (manifest.kind, namespace, manifest.name)
        if self._store.verified(*identity) == manifest.hash:
            return False
        kept = self._store.get(*identity)
        return kept is not None and bool(foreign_entries(kept))

    async def prune(self, key: Key, server: Owner, manifests: Iterable[Manifest], spared: Container[str] = ()) -> None:
        """Delete children that the server owns and the plan does not want; a kept claim has no owner.

        Args:
            spared: kinds that the API server is not known to have, for which nothing was planned: that may be an error.
        """
        wanted = {(manifest.kind, manifest.name) for manifest in manifests}
        for kind in (kind for kind in CHILDREN.values() if kind.name not in spared):
            for name in self._store.names(key, kind.name):
                if (kind.name, name) not in wanted:
                    await self._remove(key, server, kind, name)

    async def _remove(self, key: Key, server: Owner, kind: Kind, name: str) -> None:
        child = self._store.get(kind.name, server.namespace, name)
        if child is None or not is_owned(child, server) or is_terminating(child):
            return
        self._check_owner(key, server)
        await self._client.delete(kind, server.namespace, name, child["metadata"]["uid"])
        self._repairs.forget("/".join((kind.name, server.namespace, name)))
        logger.info("%s: deleted %s %s, which the spec no longer asks for", server.key, kind.name, name)

    async def _apply_one(self, key: Key, server: Owner, manifest: Manifest) -> Problem | bool | None:
        """None when nothing was to be done, True when the child was written, a problem when the name is taken."""
        kind = CHILDREN[manifest.kind]
        if self._store.verified(kind.name, server.namespace, manifest.name) == manifest.hash:
            return None
        live = self._store.get(kind.name, server.namespace, manifest.name)
        if live is None:
            # Not in the cache means: absent, or without our labels.
            return await self._create(key, server, kind, manifest)
        return await self._update(key, server, kind, manifest, live)

    async def _create(self, key: Key, server: Owner, kind: Kind, manifest: Manifest) -> Problem | bool | None:
        """Apply a child that is not known to exist, unless it does: a foreign object must not be merged into."""
        self._check_failed(key, manifest, None)
        identity = (kind.name, server.namespace, manifest.name)
        is_again = self._complete.get(key) == server.uid
        if is_again:
            self._check_budget(key, manifest, None, "/".join(identity))
            await self._look_for_owner(server)
        live: Object | None = None
        if identity in self._taken:
            live = await self._client.get(kind, server.namespace, manifest.name)
        if live is None:
            self._check_owner(key, server)
            # A conflict with nothing, as some proxies make them, is not looked into every time.
            looks = self._count(key, manifest) % 2 == 0
            live = await self._tried(key, manifest, None, self._write_new(kind, manifest, looks))
            if live is None:
                if is_again:
                    self._repairs.wrote("/".join(identity), manifest.hash)
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
            manifest = beside(manifest, live)
        if self._is_up_to_date(kind, manifest, live):
            self._store.verify(*identity, manifest.hash)
            return None
        self._check_failed(key, manifest, live)
        self._check_budget(key, manifest, live, _uid(live))
        self._check_owner(key, server)
        try:
            await self._tried(key, manifest, live, self._write(kind, manifest, live))
        except ApiError as error:
            if error.status == 409:
                await self._look_again(kind, live)
            raise
        self._repairs.wrote(_uid(live), manifest.hash)
        return True

    def _check_budget(self, key: Key, manifest: Manifest, live: Object | None, name: str) -> None:
        """Raise when a child was repaired too often; also one whose hash someone edits, or that someone deletes."""
        is_repair = live is not None and _is_repair(manifest, live)
        if not is_repair and not self._repairs.repeats(name, manifest.hash):
            return
        if pause := self._repairs.take(name):
            raise ContestedError(manifest, live, pause)
        if self._repairs.fights(name):
            self._fights.setdefault(key, {})[name] = fight_note(manifest, live)

    def _contested(self, key: Key) -> tuple[str, ...]:
        """Fights that go on over children of the server."""
        if key not in self._fights:
            return ()
        going = {name: words for name, words in self._fights.pop(key).items() if self._repairs.fights(name)}
        if going:
            self._fights[key] = going
        return tuple(sorted(set(going.values())))

    def _count(self, key: Key, manifest: Manifest) -> int:
        failures = self._failed.get(key)
        return failures.count((manifest.kind, manifest.name)) if failures else 0

    def _check_failed(self, key: Key, manifest: Manifest, live: Object | None) -> None:
        """Raise what this very write failed with, when it is too soon to send it again."""
        failures = self._failed.get(key)
        failed = failures.known((manifest.kind, manifest.name), manifest.hash, _uid(live)) if failures else None
        if failed is not None:
            raise failed.with_traceback(None)

    async def _tried(self, key: Key, manifest: Manifest, live: Object | None, write: Awaitable[T]) -> T:
        """Write, and remember how it went."""
        identity = (manifest.kind, manifest.name)
        try:
            result = await write
        except NotLeaderError:
            raise
        except ApiError as error:
            failures = self._failed.setdefault(key, FailedWrites(self._clock))
            failures.note(identity, manifest.hash, _uid(live), error)
            raise
        if key in self._failed:
            self._failed[key].forget(identity)
        return result

    async def _look_again(self, kind: Kind, known: Object) -> None:
        """The cache holds what is no longer there: have the next try start from what is."""
        metadata = known["metadata"]
        current = await self._client.get(kind, metadata["namespace"], metadata["name"])
        if current is None or current["metadata"]["uid"] != metadata["uid"]:
            self._store.remove(kind.name, {"metadata": {**metadata, "resourceVersion": ""}})
        if current is not None and key_of(kind.name, current) is not None:
            self._store.put(kind.name, current)

    def _is_up_to_date(self, kind: Kind, manifest: Manifest, live: Object) -> bool:
        if not _is_repair(manifest, live) or live["metadata"].get("managedFields"):
            return False
        if kind is DEPLOYMENT and is_stopped(manifest.body, live):
            return False
        return not differs(manifest.body, live) or self._answers.holds(manifest.hash, manifest.body, live)

    async def _write(self, kind: Kind, manifest: Manifest, live: Object) -> None:
        body = manifest.body
        forced = force_suffices(body, live)
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
            self._store.verify(kind.name, namespace, name, applied)

    async def _look_for_owner(self, server: Owner) -> None:
        """Ask the API server for the owner of a child that was deleted, and keep the answer.

        The garbage collector deletes the children of a deleted server. While the watch on servers is blind, the cache
        still holds it, and making its children again would go on for as long.
        """
        current = await self._client.get(SERVER, server.namespace, server.name)
        if current is None or current["metadata"]["uid"] != server.uid:
            metadata = {"namespace": server.namespace, "name": server.name, "uid": server.uid}
            self._store.remove(SERVER.name, {"metadata": metadata})
        if current is not None:
            self._store.put(SERVER.name, current)

    def _check_owner(self, key: Key, server: Owner) -> None:
        if not self._store.is_living(key, server.uid):
            raise OwnerGoneError(server)


def _uid(live: Object | None) -> str:
    return live["metadata"].get("uid", "") if live else ""


def _is_repair(manifest: Manifest, live: Object) -> bool:
    """True when the spec asks for nothing new: the live object itself has changed."""
    return (live["metadata"].get("annotations") or {}).get(ANNOTATION_HASH) == manifest.hash
