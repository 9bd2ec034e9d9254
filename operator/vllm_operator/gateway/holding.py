"""Hold the requests of servers that have no ready replica, and hand them back to Envoy when one is ready.

The agent is the only endpoint of the second priority in each cluster. It never proxies: when a replica is ready it
answers 425, and Envoy sends the request, whose body it has kept, to the replica. The exception are streams whose client
asks for comments (comments.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from vllm_operator.gateway.comments import CommentedStreams, comment_seconds
from vllm_operator.gateway.envoy.names import BYTES_HEADER, CLUSTER_HEADER, REQUEST_HEADER
from vllm_operator.gateway.models import server_of

HAND_BACK = 425
"""Status that makes Envoy try another endpoint (routes.py). Unlike 503 it does not count as a failure of the agent."""
HAND_BACK_SECONDS = 0.3
"""Seconds that Envoy gets to read the new endpoints before the held requests come back."""
HAND_BACK_SPREAD = 64
"""Requests that are handed back at once; the others follow in steps, so that one replica does not get all of them in
the moment in which it starts."""
REMEMBER = 10_000
"""Requests that were refused and are not held again, if Envoy tries again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HoldLimits:
    """Bounds of holding.

    Attributes:
        seconds: longest wait of a request.
        requests: requests that are held at once.
        body_bytes: bytes of their bodies.
    """

    seconds: float = 600.0
    requests: int = 1000
    body_bytes: int = 268_435_456


@dataclass
class _Waiting:
    requests: int = 0
    served: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Holder:
    """Holds requests.

    Args:
        path: path of the Unix socket.
        resume_socket: path of the Unix socket on which Envoy takes streams with comments back.
        on_held: called with the name of a server each time a request for it is held.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        path: Path,
        resume_socket: str,
        on_held: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = HoldLimits()
        self._path = path
        self._on_held = on_held
        self._clock = clock
        self._clusters: dict[str, _Waiting] = {}
        self._ready: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self._bytes = 0
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._runner: web.AppRunner | None = None
        self._streams = CommentedStreams(resume_socket)
        self._deadlines: dict[str, float] = {}
        self.total: Counter[str] = Counter()

    async def start(self) -> None:
        """Listen; a socket that a former process left is replaced."""
        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", self._hold)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        self._path.unlink(missing_ok=True)
        await web.UnixSite(self._runner, str(self._path), backlog=4096).start()
        os.chmod(self._path, 0o660)

    async def stop(self) -> None:
        """Close the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        await self._streams.stop()

    @property
    def held(self) -> Mapping[str, int]:
        """Return the number of requests that wait, by server."""
        result: Counter[str] = Counter()
        for cluster, waiting in self._clusters.items():
            result[server_of(cluster)] += waiting.requests
        return +result

    def set_endpoints(self, ready: Mapping[str, bool]) -> None:
        """Take which clusters have a ready replica; requests of clusters that are gone are refused.

        Args:
            ready: for each cluster, whether it has a ready replica.
        """
        self._ready = frozenset(name for name, is_ready in ready.items() if is_ready)
        self._known = frozenset(ready)
        for name, waiting in list(self._clusters.items()):
            if name in self._ready or name not in self._known:
                waiting.ready.set()
                if not waiting.requests:
                    del self._clusters[name]
            else:
                waiting.ready.clear()
                waiting.served = 0

    async def _hold(self, request: web.Request) -> web.StreamResponse:
        cluster = request.headers.get(CLUSTER_HEADER, "")
        identity = request.headers.get(REQUEST_HEADER, "")
        if cluster in self._ready:
            # All replicas are ejected, or the last one ends, which Envoy has met before its endpoint has gone.
            await asyncio.sleep(HAND_BACK_SECONDS)
            if cluster in self._ready:
                return web.Response(status=HAND_BACK)
        if cluster not in self._known:
            return _refusal(503, "ServiceUnavailableError", "this server is gone from the gateway", 10)
        if identity in self._refused:
            return _refusal(503, "ServiceUnavailableError", self._late(cluster), 30)
        if (deadline := self._deadlines.get(identity)) is not None:
            # A stream with comments, which is bounded already.
            return await self._wait(cluster, identity, 0, deadline - self._clock()) or self._refuse(cluster, identity)
        return await self._hold_first(request, cluster, identity)

    async def _hold_first(self, request: web.Request, cluster: str, identity: str) -> web.StreamResponse:
        """Hold a request that was not held before, within the bounds."""
        size = _length(request)
        if sum(self.held.values()) >= self.limits.requests or self._bytes + size > self.limits.body_bytes:
            return _refusal(429, "RateLimitError", "too many requests wait for a server to start", 10)
        self.total[server_of(cluster)] += 1
        seconds, comments = self.limits.seconds, comment_seconds(request.headers)
        is_commented = 0 < comments < seconds
        if found := await self._wait(cluster, identity, size, comments if is_commented else seconds):
            return found
        if not is_commented:
            return self._refuse(cluster, identity)
        self._deadlines[identity] = self._clock() + seconds - comments
        self._bytes += size
        try:
            return await self._streams.answer(request, comments)
        finally:
            self._bytes -= size
            del self._deadlines[identity]

    async def _wait(self, cluster: str, identity: str, size: int, seconds: float) -> web.StreamResponse | None:
        """Wait until a replica is ready; return None when that takes longer."""
        waiting = self._clusters.setdefault(cluster, _Waiting())
        waiting.requests += 1
        self._bytes += size
        self._on_held(server_of(cluster))
        try:
            async with asyncio.timeout(seconds):
                await waiting.ready.wait()
            waiting.served += 1
            await asyncio.sleep(HAND_BACK_SECONDS * (1 + waiting.served // HAND_BACK_SPREAD))
            return web.Response(status=HAND_BACK)
        except TimeoutError:
            return None
        finally:
            # Also when the client leaves.
            waiting.requests -= 1
            self._bytes -= size

    def _refuse(self, cluster: str, identity: str) -> web.StreamResponse:
        """Refuse a request that waited too long, and remember that, because Envoy tries again."""
        self._refused[identity] = None
        while len(self._refused) > REMEMBER:
            self._refused.popitem(last=False)
        return _refusal(503, "ServiceUnavailableError", self._late(cluster), 30)

    def _late(self, cluster: str) -> str:
        return f"no replica of {server_of(cluster)} became ready within {self.limits.seconds:.0f} s: try again later"


def _length(request: web.Request) -> int:
    """Return the bytes of a body. Where the client gave no length, the Lua filter did."""
    given = request.headers.get(BYTES_HEADER, "")
    return request.content_length or (int(given) if given.isdigit() else 0)


def _refusal(status: int, kind: str, message: str, retry_after: int) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return web.Response(
        status=status,
        text=json.dumps({"error": error}),
        content_type="application/json",
        headers={"Retry-After": str(retry_after)},
    )
