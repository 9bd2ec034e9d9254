"""Connections to replicas over plain HTTP/1.1, which never read more than was asked for.

aiohttp goes on reading a connection that is kept between two requests, and keeps whatever arrives: a replica that sends
answers without a request took 1.6 GB in five seconds. Here such a connection is closed.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, Self, cast
from urllib.parse import urlsplit

from vllm_operator.probing.body_budget import BodyBudget, BodyShare
from vllm_operator.probing.http_answer import HttpAnswer

KEEP_ALIVE_SECONDS = 75.0
"""Seconds for which an idle connection is kept: less than the 90 s that the operator configures for vLLM (default 5 s).
The operator closes first, so its requests never meet a connection that vLLM is closing."""

FREE_READS = 64
"""Reads of one answer without a pause. An answer of 50 KB comes in one to forty."""

PAUSE_SECONDS = 0.01
"""Pause after each further read: a replica that sends single bytes causes 100 reads a second at most. What arrives in a
pause is one read, so an answer of 1 MiB is late by some tenths of a second at most."""

Address = tuple[str, int]


class ConnectionDroppedError(ConnectionError):
    """The replica closed the connection before its answer was complete.

    Args:
        has_begun: a part of the answer had arrived.
    """

    def __init__(self, *, has_begun: bool) -> None:
        super().__init__("the connection was closed")
        self.has_begun = has_begun


class UnusableAddressError(ValueError):
    """The address of a replica is none that a connection can be made to."""


class BudgetSpentError(Exception):
    """The answers of a namespace that are being read hold all the memory that it may use for them."""


class ReplicaConnection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: HttpAnswer | None = None
        self._done: asyncio.Future[None] | None = None
        self._share: BodyShare | None = None
        self._reads = 0
        self._resume: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """True while a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def request(self, message: bytes, limit: int, share: BodyShare) -> HttpAnswer:
        """Send a request and return its answer, with a body of at most `limit` bytes that `share` has room for.

        Raises:
            ConnectionDroppedError: the replica closed the connection.
            NotHttpError: it answered with something else than HTTP.
            BodyTooLongError: the body is beyond the limit.
            BudgetSpentError: it is beyond the share.
        """
        if not self.is_open:
            raise ConnectionDroppedError(has_begun=False)
        assert self._transport is not None
        self._answer = answer = HttpAnswer(limit)
        self._done, self._share, self._reads = self._loop.create_future(), share, 0
        self._transport.write(message)
        try:
            await self._done
        finally:
            self._answer = self._done = self._share = None
            share.release()
            self._cancel_pause()
            if not (answer.is_complete and answer.is_reusable):
                self.close()
        return answer

    def close(self) -> None:
        """Close the connection at once."""
        self._cancel_pause()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take in that the connection is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in bytes of the answer; close the connection when no answer is due."""
        answer, done = self._answer, self._done
        if answer is None or done is None or done.done():
            self.close()
            return
        self._reads += 1
        try:
            answer.feed(bytes(data))
            if self._share is not None and not self._share.hold(answer.size):
                raise BudgetSpentError
        except Exception as error:
            self.close()
            done.set_exception(error)
            return
        if answer.is_complete:
            done.set_result(None)
        elif self._reads > FREE_READS:
            self._pause()

    def eof_received(self) -> bool:
        """Let the end of the stream close the connection."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Take in the end of the connection, which also ends an answer without a length."""
        self._transport = None
        self._cancel_pause()
        answer, done = self._answer, self._done
        if answer is None or done is None or done.done():
            return
        answer.feed_end()
        if answer.is_complete and error is None:
            done.set_result(None)
        else:
            done.set_exception(ConnectionDroppedError(has_begun=answer.has_begun))

    def _pause(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()
        self._resume = self._loop.call_later(PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._resume = None
        if self.is_open:
            assert self._transport is not None
            self._transport.resume_reading()

    def _cancel_pause(self) -> None:
        """Read again, so that the end of an idle connection is noticed."""
        if self._resume is not None:
            self._resume.cancel()
            self._go_on()


class ReplicaSession:
    """Connections to any number of replicas, one of which is kept for each. Use it inside the event loop."""

    def __init__(self) -> None:
        self._idle: dict[Address, tuple[ReplicaConnection, float]] = {}  # the one that is idle longest comes first
        self._sweep: asyncio.TimerHandle | None = None
        self._budget = BodyBudget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    async def request(self, base_url: str, message: bytes, limit: int, namespace: str) -> HttpAnswer:
        """Send a request over the kept connection of a replica, or over a new one; once more when that was closed.

        Args:
            base_url: such as `http://10.1.2.3:8000`.
            message: the whole request.
            limit: longest body of the answer, in bytes.
            namespace: the namespace of the replica, which shares the memory for answers with others.

        Raises:
            UnusableAddressError: the URL holds no address.
            OSError: there is no connection.
            NotHttpError: see `ReplicaConnection.request`, as for `BodyTooLongError` and `BudgetSpentError`.
        """
        address, share = parse_address(base_url), BodyShare(self._budget, namespace)
        try:
            return await self._send(address, message, limit, share)
        except ConnectionDroppedError as error:
            if error.has_begun:
                raise
            return await self._send(address, message, limit, share)

    async def _send(self, address: Address, message: bytes, limit: int, share: BodyShare) -> HttpAnswer:
        kept = self._idle.pop(address, None)
        if kept is not None and kept[0].is_open:
            connection = kept[0]
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(ReplicaConnection, *address)
        answer = await connection.request(message, limit, share)
        self._keep(address, connection)
        return answer

    def _keep(self, address: Address, connection: ReplicaConnection) -> None:
        if not connection.is_open:
            return
        if address in self._idle:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle[address] = connection, loop.time() + KEEP_ALIVE_SECONDS
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_ALIVE_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        """Close the connections that were idle for too long, and come back when the next one will have been."""
        loop = asyncio.get_running_loop()
        self._sweep, now = None, loop.time()
        for address, (connection, until) in list(self._idle.items()):
            if until > now:
                self._sweep = loop.call_at(until, self._close_idle)
                return
            connection.close()
            del self._idle[address]

    async def close(self) -> None:
        """Close every idle connection; a request closes its own when it ends."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection, _ in self._idle.values():
            connection.close()
        self._idle.clear()


@lru_cache(maxsize=16_384)
def parse_address(base_url: str) -> Address:
    """Return host and port of a URL such as `http://[2001:db8::1]:8000`.

    Raises:
        UnusableAddressError: it has none, or another scheme.
    """
    try:
        url = urlsplit(base_url)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise UnusableAddressError(base_url) from error
    if url.scheme != "http" or not host:
        raise UnusableAddressError(base_url)
    return host, port or 80
