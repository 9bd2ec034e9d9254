"""Remember deletions, so that late answers and stale lists do not bring a deleted object back."""

from __future__ import annotations

REMEMBERED_DELETIONS = 10_000


class Tombstones:
    """UIDs of deleted objects, oldest first, each with the resource version of its deletion.

    The answer to a write may arrive after the watch event of the deletion. An object that only stopped matching the
    selector of the watch is reported as DELETED, too: a state with a later resource version is accepted again.
    """

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        """Resource version of the deletion by UID; empty when it is unknown."""

    def add(self, uid: str, version: str) -> None:
        """Record a deletion; with an empty version, `bars` is True for every later state of the object."""
        self._versions[uid] = version
        while len(self._versions) > REMEMBERED_DELETIONS:
            del self._versions[next(iter(self._versions))]

    def bars(self, uid: str, version: str, *, unlabelled: bool) -> bool:
        """Return whether this state of an object is one from before its deletion.

        Args:
            uid: UID of the object.
            version: resource version of the state.
            unlabelled: whether the state lacks the label that the watches select. A deletion has a resource version of
                its own. An object that lost its label is reported as DELETED in the version that it then has, so an
                unlabelled state in the version of the tombstone exists.
        """
        deleted = self._versions.get(uid)
        if deleted is None or is_later(version, deleted):
            return False
        return not (unlabelled and version == deleted)


def is_later(version: str, other: str) -> bool:
    """Return whether a resource version is later than another one; False when one of them is not a number."""
    return version.isdigit() and other.isdigit() and int(version) > int(other)
