"""Limit the connections to the operator's own HTTP endpoints: any pod of the cluster may open them and stay silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

MAX_CONNECTIONS = 128
"""Connections at once: the kubelet and a few Prometheus servers need less than ten. Each takes up to 14 KiB."""

CONNECTION_SECONDS = 10.0
"""Seconds from the opening of a connection to its end. It serves one request, which takes far less, so that one that
stays silent, sends half a header, or does not read its answer ends as well."""

BACKLOG = 128
"""Connections that wait to be accepted."""


class ConnectionLimiter:
    """Wrap the protocols of a server, and close connections that are too many or too old.

    Beyond the limit, the oldest connection of the address that has most is closed: the kubelet has one at a time, so
    that a flood from other addresses takes no place from it.

    Args:
        protocol: returns the protocol of a new connection.
        limit: connections at once.
        seconds: seconds after which a connection is closed.
    """

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        limit: int = MAX_CONNECTIONS,
        seconds: float = CONNECTION_SECONDS,
    ) -> None:
        self._protocol = protocol
        self._limit = limit
        self._seconds = seconds
        self._open: dict[str, dict[_LimitedProtocol, None]] = {}
        """Connections by the address of the peer, the oldest first."""
        self.count = 0

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _LimitedProtocol(self._protocol(), self)

    def add(self, connection: _LimitedProtocol) -> None:
        """Count a connection that was opened, and close another one when there are too many."""
        self._open.setdefault(connection.address, {})[connection] = None
        self.count += 1
        connection.close_after(self._seconds)
        if self.count > self._limit:
            most = max(self._open.values(), key=len)
            oldest = next(iter(most))
            self.remove(oldest)
            oldest.abort()

    def remove(self, connection: _LimitedProtocol) -> None:
        """Forget a connection that ended. Further calls do nothing."""
        connections = self._open.get(connection.address, {})
        if connection not in connections:
            return
        del connections[connection]
        self.count -= 1
        if not connections:
            del self._open[connection.address]


class _LimitedProtocol(asyncio.Protocol):
    """One connection: everything goes to the protocol of the server."""

    def __init__(self, protocol: asyncio.Protocol, limiter: ConnectionLimiter) -> None:
        self._protocol = protocol
        self._limiter = limiter
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.address = ""
        """IP address of the peer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._protocol.connection_made(transport)
        self._limiter.add(self)

    def close_after(self, seconds: float) -> None:
        """Close the connection when its time is over."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._limiter.remove(self)
        self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()
