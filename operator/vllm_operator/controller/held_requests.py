"""The requests that gateways hold for each server, for its status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from vllm_operator.kube.key import Key


class HeldRequests:
    """Adds up what the gateways report.

    Args:
        on_change: called with the keys of the servers whose number has changed; must not block.
    """

    def __init__(self, on_change: Callable[[Iterable[Key]], None]) -> None:
        self._on_change = on_change
        self._by_gateway: dict[Key, dict[Key, int]] = {}

    def report(self, gateway: Key, counts: Mapping[Key, int] | None) -> None:
        """Take the present numbers of a gateway; None when they are unknown, or the gateway is gone."""
        before, after = (
            self._by_gateway.pop(gateway, {}),
            {key: count for key, count in (counts or {}).items() if count},
        )
        if after:
            self._by_gateway[gateway] = after
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        if changed:
            self._on_change(sorted(changed))

    def count(self, key: Key) -> int:
        """Return the requests that wait for a server; 0 when none waits, or when it is unknown."""
        return sum(counts.get(key, 0) for counts in self._by_gateway.values())
