"""The result of a reconcile: when its key is enqueued again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Requeue:
    """The delay after which the work queue enqueues a key again, when no event enqueues it earlier.

    Attributes:
        seconds: delay in seconds, 0 for at once; None for never.
    """

    seconds: float | None = None

    @classmethod
    def now(cls) -> Requeue:
        """Reconcile again at once."""
        return cls(0.0)

    @classmethod
    def after(cls, seconds: float) -> Requeue:
        """Reconcile again after `seconds`."""
        return cls(seconds)

    @classmethod
    def never(cls) -> Requeue:
        """Wait for a watch event, a probe result or a lookup."""
        return cls(None)

    @classmethod
    def earliest(cls, *candidates: Requeue) -> Requeue:
        """Return the candidate with the shortest delay; never when there is none."""
        return cls(min((one.seconds for one in candidates if one.seconds is not None), default=None))
