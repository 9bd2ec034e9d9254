"""A fake of vLLM's API server on loopback, whose answers have the shapes of the real one."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiohttp import web

from tests.helpers.paths import DATA

RECORDED_METRICS = (DATA / "vllm-0.32-metrics.txt").read_text()


INFERENCE = {
    "/v1/completions": "text_completion",
    "/v1/embeddings": "list",
    "/pooling": "list",
    "/classify": "list",
    "/v1/audio/transcriptions": "transcription",
}
"""Path -> the name of its answers. A real server serves one or several of them, by the kind of its model."""


class FakeVLLM:
    """Answers `/health`, `/v1/models`, `/version`, `/metrics` and one-token completions as vLLM 0.32 does.

    With a stalled engine, completions wait and no counter moves; with a busy one, they wait while its counters move.

    Attributes:
        accepts: the paths of `INFERENCE` that its model serves.
        models: names listed by `/v1/models`.
        version: answer of `/version`.
        api_key: key that `/v1/models` requires, if any.
        status: path -> HTTP status to answer with instead of 200.
        body: path -> bytes to answer with instead of the usual ones.
        headers: sent with every answer.
        delay: seconds before every answer.
        delays: path -> seconds before its answers, in place of `delay`.
        stalled: its engine makes no progress.
        busy: its engine makes progress, and answers no completion in time.
        engine_requests: requests that its engine reports.
        waiting: completions that wait for an answer.
        cancelled: completions that their client cancelled.
        completed: bodies of the completions that its engine answered.
        requests: path -> number of requests.
        connections: connections that were opened.
    """

    def __init__(self, models: tuple[str, ...] = ("mistral-7b",), version: str = "0.32.0") -> None:
        self.models = models
        self.version = version
        self.accepts = {"/v1/completions"}
        self.api_key: str | None = None
        self.max_model_len = 8192
        self.metrics = RECORDED_METRICS
        self.status: dict[str, int] = {}
        self.body: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.delay = 0.0
        self.delays: dict[str, float] = {}
        self.stalled = self.busy = False
        self.engine_requests = self.tokens = self.waiting = self.cancelled = 0
        self.completed: list[dict[str, object]] = []
        self.headers_of_completions: list[Mapping[str, str]] = []
        self.requests: Counter[str] = Counter()
        self.authorizations: set[tuple[str, str | None]] = set()
        self.cookies: set[str | None] = set()
        self.peers: set[object] = set()
        self.port = 0
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Number of connections that were opened."""
        return len(self.peers)

    async def start(self) -> None:
        """Listen, on the same port as before when there was one."""
        self._runner = web.ServerRunner(web.Server(self._answer, handler_cancellation=True), shutdown_timeout=0.1)  # type: ignore[arg-type]
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port: connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        path = request.path
        self.requests[path] += 1
        self.peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        self.authorizations.add((path, request.headers.get("authorization")))
        self.cookies.add(request.headers.get("cookie"))
        await asyncio.sleep(self.delays.get(path, self.delay))
        if path in self.status:
            return web.Response(status=self.status[path], headers=self.headers)
        if path in self.body:
            return web.Response(body=self.body[path], headers=self.headers)
        if path.startswith("/v1") and self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if path in INFERENCE and path in self.accepts:
            return await self._complete(request)
        return self._default_answer(path)

    async def _complete(self, request: web.BaseRequest) -> web.Response:
        """Answer as soon as the engine is free, unless the client closes the connection before."""
        self.headers_of_completions.append(request.headers.copy())
        is_json = request.content_type == "application/json"
        body = await request.json() if is_json else await _form(request)
        self.waiting += 1
        try:
            while self.stalled or self.busy:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        self.completed.append(body)
        self.tokens += 1
        return web.json_response({"object": INFERENCE[request.path], "model": body["model"]})

    def _metrics(self) -> str:
        """Return the recorded metrics with the present counters of the engine."""
        if self.busy:
            self.tokens += 1
        changes = {"vllm:num_requests_running": self.engine_requests, "vllm:generation_tokens_total": self.tokens}
        text = self.metrics
        for family, value in changes.items():
            text = re.sub(rf"^({family}\{{.*\}}) .*$", rf"\1 {value:.1f}", text, flags=re.MULTILINE)
        return text

    def _default_answer(self, path: str) -> web.Response:
        match path:
            case "/health":
                return web.Response(headers=self.headers)
            case "/v1/models":
                return web.json_response({"object": "list", "data": [self._model(name) for name in self.models]})
            case "/version":
                return web.json_response({"version": self.version})
            case "/metrics":
                return web.Response(text=self._metrics())
        return web.json_response({"detail": "Not Found"}, status=404)

    def _model(self, name: str) -> dict[str, object]:
        return {
            "id": name,
            "object": "model",
            "created": 1772445600,
            "owned_by": "vllm",
            "root": "/models/tiny",
            "parent": None,
            "max_model_len": self.max_model_len,
            "permission": [],
        }


async def _form(request: web.BaseRequest) -> dict[str, object]:
    """Return the fields of a form; of the file, its content."""
    fields = await request.post()
    return {name: value.file.read() if isinstance(value, web.FileField) else value for name, value in fields.items()}
