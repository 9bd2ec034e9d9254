"""Bound the memory of the answers that are being read at the same time, and share it among namespaces."""

from __future__ import annotations

from vllm_operator.kube.fair_share import FairShare

FREE_BYTES = 64 * 1024
"""Bytes of a body that every answer may hold: `/metrics` of one engine has 52 KB."""

BUDGET_BYTES = 64 * 1024 * 1024
"""Bytes that all bodies together may hold beyond that. With 1,250 probes at once, answers hold 144 MiB at most."""


class BodyBudget:
    """The bytes that bodies hold beyond `FREE_BYTES`, by namespace: 16 MiB of one that is alone.

    Args:
        total: bytes of all namespaces together.
    """

    def __init__(self, total: int = BUDGET_BYTES) -> None:
        self._share = FairShare(total)

    def take(self, namespace: str, size: int) -> bool:
        """Take `size` bytes for a namespace and return True; return False when its share is used up."""
        if size > self._share.left(namespace):
            return False
        self._share.change(namespace, size)
        return True

    def free(self, namespace: str, size: int) -> None:
        """Give back bytes that `take` has given."""
        self._share.change(namespace, -size)


class BodyShare:
    """The part of the budget that one answer holds.

    Args:
        budget: the budget of all answers.
        namespace: the namespace of the replica.
    """

    __slots__ = ("_budget", "_held", "_namespace")

    def __init__(self, budget: BodyBudget, namespace: str) -> None:
        self._budget = budget
        self._namespace = namespace
        self._held = 0

    def hold(self, size: int) -> bool:
        """Hold a body of `size` bytes and return True; return False when the share of its namespace is used up."""
        more = size - FREE_BYTES - self._held
        if more <= 0:
            return True
        if not self._budget.take(self._namespace, more):
            return False
        self._held += more
        return True

    def release(self) -> None:
        """Give back what the body held."""
        if self._held:
            self._budget.free(self._namespace, self._held)
            self._held = 0
