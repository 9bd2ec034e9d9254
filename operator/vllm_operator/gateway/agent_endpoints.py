"""Serve /healthz, /readyz, /metrics and /held of the agent."""

from __future__ import annotations

from aiohttp import web

from vllm_operator.gateway.holding import Holder


class AgentEndpoints:
    """A small HTTP server for the kubelet and Prometheus.

    Args:
        holder: the holder, whose numbers are shown.

    Attributes:
        filled: the caches were filled once, so the files of Envoy are there.
        written: files that were written.
        refused: parts of the configuration that Envoy refuses.
    """

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self.filled = False
        self.written = 0
        self.refused: list[str] = []
        self._runner: web.AppRunner | None = None

    async def start(self, address: str, port: int) -> None:
        """Listen."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/held", self._held),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, port).start()

    async def stop(self) -> None:
        """Close the socket."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok") if self.filled else web.Response(status=503, text="no cache yet")

    async def _held(self, _: web.Request) -> web.Response:
        """Answer how many requests wait, by server, and what Envoy refuses; the operator asks."""
        return web.json_response({"held": dict(self._holder.held), "refused": self.refused})

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = ["# TYPE vllm_gateway_held_requests gauge"]
        held = self._holder.held
        lines += [
            f'vllm_gateway_held_requests{{server="{name}"}} {held.get(name, 0)}' for name in sorted(self._holder.total)
        ]
        lines.append("# TYPE vllm_gateway_held_requests_total counter")
        lines += [
            f'vllm_gateway_held_requests_total{{server="{name}"}} {count}'
            for name, count in sorted(self._holder.total.items())
        ]
        lines += ["# TYPE vllm_gateway_written_files_total counter", f"vllm_gateway_written_files_total {self.written}"]
        lines += ["# TYPE vllm_gateway_refused_parts gauge", f"vllm_gateway_refused_parts {len(self.refused)}"]
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")
