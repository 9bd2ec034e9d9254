"""What came of earlier writes, server by server: what failed, what is fought over, and who had all its children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.apply.owner import Owner
from vllm_operator.apply.repair_limiter import RepairLimiter
from vllm_operator.apply.result import ContestedError, fight_note
from vllm_operator.apply.write_backoff import WriteBackoff
from vllm_operator.errors import ApiError, NotLeaderError
from vllm_operator.kube.key import Key
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object

T = TypeVar("T")

NAMESPACE = ("Namespace", "")
"""Stands among the failed writes for all of them: nothing more can be made in a namespace that ends."""


class WriteHistory:
    """Decides from earlier writes of children whether another one is sent now, and tells what is fought over.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._repairs = RepairLimiter(clock)
        self._failed: dict[Key, WriteBackoff] = {}
        self._fights: dict[Key, dict[str, str]] = {}
        """Children that were repaired again and again, by what their repairs are counted, and what is told of each."""
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

    def completed(self, key: Key, server: Owner) -> None:
        """The server has all its children that it can have."""
        self._complete[key] = server.uid

    def was_complete(self, key: Key, server: Owner) -> bool:
        """Whether this very server had all its children before."""
        return self._complete.get(key) == server.uid

    def check_namespace(self, key: Key, server: Owner) -> None:
        """Raise the refusal of a namespace that ends, while it is too soon to try again."""
        if (failures := self._failed.get(key)) and (ending := failures.known(NAMESPACE, server.uid, "")):
            raise ending.with_traceback(None)

    def note_namespace(self, key: Key, server: Owner, error: ApiError) -> None:
        """Remember the refusal of a namespace that ends."""
        self._failed.setdefault(key, WriteBackoff(self._clock)).note(NAMESPACE, server.uid, "", error)

    def check_failed(self, key: Key, manifest: Manifest, live: Object | None) -> None:
        """Raise what this very write failed with, when it is too soon to send it again."""
        failures = self._failed.get(key)
        failed = failures.known((manifest.kind, manifest.name), manifest.hash, uid_of(live)) if failures else None
        if failed is not None:
            raise failed.with_traceback(None)

    def failures(self, key: Key, manifest: Manifest) -> int:
        """How often the last write of the child has failed in a row."""
        failures = self._failed.get(key)
        return failures.count((manifest.kind, manifest.name)) if failures else 0

    async def tried(self, key: Key, manifest: Manifest, live: Object | None, write: Awaitable[T]) -> T:
        """Write, and remember how it went."""
        identity = (manifest.kind, manifest.name)
        try:
            result = await write
        except NotLeaderError:
            raise
        except ApiError as error:
            failures = self._failed.setdefault(key, WriteBackoff(self._clock))
            failures.note(identity, manifest.hash, uid_of(live), error)
            raise
        if key in self._failed:
            self._failed[key].forget(identity)
        return result

    def check_budget(self, key: Key, manifest: Manifest, live: Object | None, name: str) -> None:
        """Raise when a child was repaired too often; also one whose hash someone edits, or that someone deletes.

        Args:
            name: by which its repairs are counted: the UID of one that exists, the place of one that was deleted.
        """
        if not (live is not None and is_repair(manifest, live)) and not self._repairs.repeats(name, manifest.hash):
            return
        if pause := self._repairs.take(name):
            raise ContestedError(manifest, live, pause)
        if self._repairs.fights(name):
            self._fights.setdefault(key, {})[name] = fight_note(manifest, live)

    def wrote(self, name: str, applied: str) -> None:
        """The manifest with the hash `applied` was written to the child whose repairs are counted by `name`."""
        self._repairs.wrote(name, applied)

    def deleted(self, name: str) -> None:
        """The operator itself deleted the child: to make one of the name is no repair."""
        self._repairs.forget(name)

    def conflicts(self, key: Key) -> tuple[str, ...]:
        """Fights that go on over children of the server."""
        if key not in self._fights:
            return ()
        going = {name: words for name, words in self._fights.pop(key).items() if self._repairs.fights(name)}
        if going:
            self._fights[key] = going
        return tuple(sorted(set(going.values())))


def uid_of(live: Object | None) -> str:
    """The UID of an object; empty when there is none."""
    return live["metadata"].get("uid", "") if live else ""


def is_repair(manifest: Manifest, live: Object) -> bool:
    """True when the spec asks for nothing new: the live object itself has changed."""
    return (live["metadata"].get("annotations") or {}).get(ANNOTATION_HASH) == manifest.hash
