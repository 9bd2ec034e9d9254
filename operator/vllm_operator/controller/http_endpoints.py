"""Serve /healthz, /readyz and /metrics of the operator itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from vllm_operator.controller.connection_limit import BACKLOG, ConnectionLimiter
from vllm_operator.controller.metrics import Metrics
from vllm_operator.errors import VLLMOperatorError

HIGHEST_PORT = 65_535


class ListenError(VLLMOperatorError):
    """The operator cannot listen on this address."""


def parse_listen(listen: str, option: str) -> tuple[str | None, int]:
    """Return host and port of `host:port`; without a host, None for all addresses.

    Args:
        listen: the address.
        option: the option that sets it, for the message.

    Raises:
        ListenError: the port is no number from 0 to 65,535.
    """
    host, _, text = listen.rpartition(":")
    try:
        port = int(text)
    except ValueError as error:
        raise ListenError(f"{option} {listen}: {error}") from error
    # uvloop would use the port modulo 65,536.
    if not 0 <= port <= HIGHEST_PORT:
        raise ListenError(f"{option} {listen}: port must be 0-{HIGHEST_PORT}")
    return host or None, port


class HttpEndpoints:
    """A small HTTP server for the kubelet and Prometheus.

    Args:
        listen: address as `host:port`.
        metrics: the metrics of /metrics.
        liveness_failure: returns why the process must be replaced, for /healthz; empty while it works.

    Attributes:
        ready: whether /readyz answers 200.
    """

    def __init__(self, listen: str, metrics: Metrics, liveness_failure: Callable[[], str]) -> None:
        self._listen = listen
        self._metrics = metrics
        self._liveness_failure = liveness_failure
        self.ready = False
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on the address.

        Raises:
            ListenError: the address is taken or invalid.
        """
        app = web.Application(middlewares=[_one_request_a_connection])
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
            ]
        )
        self._runner = _LimitedRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        host, port = parse_listen(self._listen, "--listen")
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError as error:
            raise ListenError(f"--listen {self._listen}: {error}") from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that the endpoints listen on; 0 before they do."""
        return int(self._runner.addresses[0][1]) if self._runner and self._runner.addresses else 0

    async def _healthz(self, _: web.Request) -> web.Response:
        failure = self._liveness_failure()
        return web.Response(status=500, text=f"{failure}\n") if failure else web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self.ready else web.Response(status=503, text="the caches are filling\n")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


class _LimitedRunner(web.AppRunner):
    """A runner whose sites limit their connections."""

    @property
    def server(self) -> Any:
        """The factory of protocols that a site listens with."""
        return ConnectionLimiter(self._protocol)

    def _protocol(self) -> asyncio.Protocol:
        server = super().server
        assert server is not None, "the runner is set up before its site starts"
        return server()


@web.middleware
async def _one_request_a_connection(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close the connection after its answer, so that its whole time has a limit."""
    response = await handler(request)
    response.force_close()
    return response
