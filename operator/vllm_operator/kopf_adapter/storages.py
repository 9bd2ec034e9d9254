"""Storages of kopf that store nothing: the operator keeps no state on objects, and kopf need not copy them for it."""

from __future__ import annotations

from typing import Any

import kopf


class NoOpDiffBaseStorage(kopf.DiffBaseStorage):
    """Remembers no former state: events only wake the queue, which compares with what it applies itself."""

    def build(self, **_: Any) -> Any:
        """Nothing of an object matters to kopf. The original copies every object of every event."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing is stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""


class NoOpProgressStorage(kopf.ProgressStorage):
    """Remembers no progress: there are no handlers that kopf would retry."""

    def fetch(self, **_: Any) -> None:
        """Nothing is stored."""

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Touch nothing."""

    def clear(self, *, essence: Any) -> Any:
        """There is nothing to take out."""
        return essence
