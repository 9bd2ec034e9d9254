"""Let Envoy end its open requests before its pod stops: the preStop hook of the agent's container."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp

STEP_SECONDS = 0.5
ENDPOINT_SECONDS = 3.0
"""Seconds that kube-proxy and load balancers get to send new connections elsewhere."""
KEPT_SECONDS = 10.0
"""Seconds that clients with an idle connection get to send a request, whose answer closes the connection. One that is
closed while the client sends loses the request."""
REQUESTS = "http.gateway.downstream_rq_active"
CONNECTIONS = "http.gateway.downstream_cx_active"


async def drain(admin_socket: str, seconds: float, clock: Callable[[], float] = time.monotonic) -> bool:
    """Fail the readiness, close kept connections step by step, and wait for open requests.

    Args:
        admin_socket: Unix socket of Envoy's administration.
        seconds: the longest wait.
        clock: monotonic time in seconds.

    Returns:
        True when no request is open any more.
    """
    until = clock() + seconds
    kept_until = clock() + min(KEPT_SECONDS, seconds)
    connector = aiohttp.UnixConnector(admin_socket)
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout) as session:
        async with session.post("/healthcheck/fail"):
            pass
        # New connections are still accepted: some clients learn about the end of a pod late.
        async with session.post("/drain_listeners?graceful&skip_exit"):
            pass
        await asyncio.sleep(min(ENDPOINT_SECONDS, seconds))
        while clock() < until:
            connections = await _gauge(session, CONNECTIONS) if clock() < kept_until else 0
            if connections == 0 and await _gauge(session, REQUESTS) == 0:
                return True
            await asyncio.sleep(STEP_SECONDS)
    return False


async def _gauge(session: aiohttp.ClientSession, name: str) -> int:
    async with session.get(f"/stats?filter=^{name}$") as response:
        text = await response.text()
    return int(text.partition(":")[2].strip() or 0)
