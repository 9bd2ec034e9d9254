"""A stand-in for vLLM's API server on loopback, whose answers have the shapes of the real one."""

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


INFERENCE = {"/v1/completions": "text_completion", "/v1/embeddings": "list"}


class FakeVLLM:
    """Answers `/health`, `/v1/models`, `/version`, `/metrics` and one-token completions as vLLM 0.32 does.

    A frozen one lets completions hang and keeps its numbers; a busy one lets them hang while its numbers go on.

    Attributes:
        takes: which of `completions` and `embeddings` its model takes.
        models: names listed by `/v1/models`.
        version: answer of `/version`.
        api_key: key that `/v1/models` asks for, if any.
        status: path -> HTTP status to answer with instead of 200.
        body: path -> bytes to answer with instead of the usual ones.
        headers: sent with every answer.
        delay: seconds before every answer.
        slow: path -> seconds before its answers instead.
        frozen: its engine stands still.
        busy: its engine has more to do than it gets done.
        held: requests that its engine says it holds.
        hanging: completions that wait for an answer.
        given_up: completions that were taken back.
        completed: bodies of the requests that its engine answered.
        asked: path -> how often it was asked.
        connections: connections that were opened.
    """

    def __init__(self, models: tuple[str, ...] = ("mistral-7b",), version: str = "0.32.0") -> None:
        self.models = models
        self.version = version
        self.takes = {"completions"}
        self.api_key: str | None = None
        self.max_model_len = 8192
        self.metrics = RECORDED_METRICS
        self.status: dict[str, int] = {}
        self.body: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.delay = 0.0
        self.slow: dict[str, float] = {}
        self.frozen = self.busy = False
        self.held = self.tokens = self.hanging = self.given_up = 0
        self.completed: list[dict[str, object]] = []
        self.headers_of_completions: list[Mapping[str, str]] = []
        self.asked: Counter[str] = Counter()
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
        """How many connections were opened."""
        return len(self.peers)

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
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
        self.asked[path] += 1
        self.peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        self.authorizations.add((path, request.headers.get("authorization")))
        self.cookies.add(request.headers.get("cookie"))
        await asyncio.sleep(self.slow.get(path, self.delay))
        if path in self.status:
            return web.Response(status=self.status[path], headers=self.headers)
        if path in self.body:
            return web.Response(body=self.body[path], headers=self.headers)
        if path.startswith("/v1") and self.api_key and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if path in INFERENCE and path.removeprefix("/v1/") in self.takes:
            return await self._complete(request)
        return self._usual(path)

    async def _complete(self, request: web.BaseRequest) -> web.Response:
        """Answer as soon as the engine is free, unless the client closes the connection before."""
        self.headers_of_completions.append(request.headers.copy())
        body = await request.json()
        self.hanging += 1
        try:
            while self.frozen or self.busy:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.hanging -= 1
        self.completed.append(body)
        self.tokens += 1
        return web.json_response({"object": INFERENCE[request.path], "model": body["model"]})

    def _numbers(self) -> str:
        """The recorded metrics, with the engine's own numbers of now."""
        if self.busy:
            self.tokens += 1
        changes = {"vllm:num_requests_running": self.held, "vllm:generation_tokens_total": self.tokens}
        text = self.metrics
        for family, value in changes.items():
            text = re.sub(rf"^({family}\{{.*\}}) .*$", rf"\1 {value:.1f}", text, flags=re.MULTILINE)
        return text

    def _usual(self, path: str) -> web.Response:
        match path:
            case "/health":
                return web.Response(headers=self.headers)
            case "/v1/models":
                return web.json_response({"object": "list", "data": [self._model(name) for name in self.models]})
            case "/version":
                return web.json_response({"version": self.version})
            case "/metrics":
                return web.Response(text=self._numbers())
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
