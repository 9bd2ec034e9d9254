"""Limit the time of the event loop that the changed specs of one namespace take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vllm_operator.kube.key import Key

BURST_SECONDS = 10.0
"""Computing time that a namespace may use at once: thousands of honest servers, which take 2 to 5 ms each, when the
operator starts or when all of them change."""

SHARE = 0.25
"""Seconds of computing time that a namespace earns in each second after its burst: a quarter of the one core that all
tenants share."""

SHORTEST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 30.0


@dataclass
class _Account:
    """The computing time of one namespace.

    Attributes:
        balance: seconds that it may use now; negative after a spec that took longer than it had.
        at: time of the balance.
        mean: mean seconds of its last specs.
        waiting: servers whose spec waits, in the order of their first attempt.
    """

    balance: float
    at: float
    mean: float = 0.0
    waiting: dict[Key, None] = field(default_factory=dict)


class NamespaceBudget:
    """A token bucket of computing time for each namespace: BURST_SECONDS at once, then SHARE of the time.

    One server is limited by its `SpecRateLimiter`. A tenant with many servers, or with specs that are dear to check, is
    limited by this one.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    def delay(self, key: Key) -> float:
        """Return 0 when the new spec of a server may be computed now; else the seconds until it should ask again."""
        account = self._account(key.namespace)
        if account is None:
            return 0.0
        if account.balance > 0:
            account.waiting.pop(key, None)
            return 0.0
        account.waiting[key] = None
        # Each server that waits has its own time: a thousand that ask again at once would be a load themselves.
        position = list(account.waiting).index(key) if len(account.waiting) < 100 else len(account.waiting)
        delay = (position * account.mean - account.balance) / SHARE
        return min(max(delay, SHORTEST_DELAY_SECONDS), LONGEST_DELAY_SECONDS)

    def charge(self, namespace: str, seconds: float) -> None:
        """Take the seconds that a spec took from the account of its namespace."""
        account = self._account(namespace) or _Account(BURST_SECONDS, self._clock())
        account.balance -= seconds
        account.mean = 0.9 * account.mean + 0.1 * seconds if account.mean else seconds
        self._accounts[namespace] = account

    def forget(self, key: Key) -> None:
        """Forget a server that is gone."""
        if account := self._accounts.get(key.namespace):
            account.waiting.pop(key, None)

    def _account(self, namespace: str) -> _Account | None:
        """Return the account of a namespace as it is now; None when it is full, which needs no memory."""
        account = self._accounts.get(namespace)
        if account is None:
            return None
        now = self._clock()
        account.balance = account.balance + (now - account.at) * SHARE
        account.at = now
        if account.balance >= BURST_SECONDS and not account.waiting:
            del self._accounts[namespace]
            return None
        account.balance = min(account.balance, BURST_SECONDS)
        return account
