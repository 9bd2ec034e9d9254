"""Share an amount among namespaces so that some is left for each that has none yet."""

from __future__ import annotations

from collections import Counter

SHARE = 3
"""A namespace may hold a third of what is then free. So one alone holds a quarter of all, two hold two fifths."""


class FairShare:
    """An amount, such as bytes or places, that namespaces take and give back.

    Args:
        total: the whole amount.
    """

    def __init__(self, total: int) -> None:
        self.free = total
        """Amount that nobody holds."""
        self._held: Counter[str] = Counter()

    def left(self, namespace: str, free: int | None = None) -> int:
        """Return how much of its share a namespace does not hold yet; negative while it holds more.

        Args:
            namespace: the namespace.
            free: what is free for this use, where that is less than what nobody holds.
        """
        return -(-(self.free if free is None else free) // SHARE) - self._held[namespace]

    def change(self, namespace: str, amount: int) -> None:
        """Take an amount for a namespace; give it back where it is negative."""
        self.free -= amount
        self._held[namespace] += amount
        if not self._held[namespace]:
            del self._held[namespace]
