"""Serve /healthz, /readyz and /metrics of the operator itself."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from vllm_operator.controller.metrics import Metrics
from vllm_operator.errors import VLLMOperatorError

HIGHEST_PORT = 65_535


class ListenError(VLLMOperatorError):
    """The operator cannot listen on this address."""


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
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
            ]
        )
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        host, _, text = self._listen.rpartition(":")
        try:
            port = int(text)
            # uvloop would use the port modulo 65,536.
            if not 0 <= port <= HIGHEST_PORT:
                raise OverflowError(f"port must be 0-{HIGHEST_PORT}")
            await web.TCPSite(self._runner, host or None, port).start()
        except (OSError, ValueError, OverflowError) as error:
            raise ListenError(f"--listen {self._listen}: {error}") from error

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        failure = self._liveness_failure()
        return web.Response(status=500, text=f"{failure}\n") if failure else web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self.ready else web.Response(status=503, text="the caches are filling\n")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
