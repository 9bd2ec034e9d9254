"""Remember deletions, so that late answers and stale lists do not bring a deleted object back."""

from __future__ import annotations

REMEMBERED_DELETIONS = 10_000
"""Deletions of all namespaces together, 200 bytes each."""


class Tombstones:
    """UIDs of deleted objects by namespace, oldest first, each with the resource version of its deletion.

    Where there are too many, the oldest of the namespace with the most goes: nobody who creates and deletes objects
    makes the operator forget the deletions of others.

    The answer to a write may arrive after the watch event of the deletion. An object that only stopped matching the
    selector of the watch is reported as DELETED, too: a state with a later resource version is accepted again.
    """

    def __init__(self) -> None:
        self._versions: dict[str, dict[str, str]] = {}
        """Resource version of the deletion by namespace and UID; empty when it is unknown."""
        self._count = 0

    def add(self, namespace: str, uid: str, version: str) -> None:
        """Remember a deletion; an empty version means that no later state may revive the object."""
        of_namespace = self._versions.setdefault(namespace, {})
        self._count += uid not in of_namespace
        of_namespace[uid] = version
        while self._count > REMEMBERED_DELETIONS:
            self._forget_one()

    def bars(self, namespace: str, uid: str, version: str, *, unlabelled: bool) -> bool:
        """Return whether this state of an object is one from before its deletion.

        Args:
            namespace: namespace of the object.
            uid: its UID.
            version: resource version of the state.
            unlabelled: whether the state lacks the label that the watches select. A deletion has a resource version of
                its own. An object that lost its label is reported as DELETED in the version that it then has, so an
                unlabelled state in the version of the tombstone exists.
        """
        deleted = self._versions.get(namespace, {}).get(uid)
        if deleted is None or is_later(version, deleted):
            return False
        return not (unlabelled and version == deleted)

    def _forget_one(self) -> None:
        namespace = max(self._versions, key=lambda name: len(self._versions[name]))
        of_namespace = self._versions[namespace]
        del of_namespace[next(iter(of_namespace))]
        self._count -= 1
        if not of_namespace:
            del self._versions[namespace]


def is_later(version: str, other: str) -> bool:
    """Return whether a resource version is later than another one; False when one of them is not a number."""
    return version.isdigit() and other.isdigit() and int(version) > int(other)
