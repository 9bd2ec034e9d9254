"""A stand-in of vLLM's HTTP API on loopback, with the shapes of vLLM 0.32, whose answers a test can replace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import orjson
from aiohttp import web

Json = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeVLLMServer:
    """Answers as vLLM does. `answers` replaces the answer of a path; `requests` holds each body with its headers.

    Attributes:
        url: base URL.
        requests: path, headers and JSON of each request that came.
        answers: path -> handler, or a list of handlers that are used up one by one.
        closed_early: streams whose client left before their end.
    """

    def __init__(self, model: str = "tiny", words: tuple[str, ...] = ("Hello", " world")) -> None:
        self.model = model
        self.words = words
        self.word_seconds = 0.0
        self.url = ""
        self.requests: list[tuple[str, Mapping[str, str], Json]] = []
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.closed_early = 0
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        host, self._port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def bodies(self, path: str = "/v1/chat/completions") -> list[Json]:
        """The JSON of each request of a path."""
        return [body for at, _, body in self.requests if at == path]

    async def until(self, happened: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until something happened."""
        async with asyncio.timeout(seconds):
            while not happened():  # noqa: ASYNC110  Any condition may be waited for.
                await asyncio.sleep(0.01)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read() or b"{}")
        self.requests.append((request.path, request.headers.copy(), body))
        answer = self.answers.get(request.path)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        if answer is not None:
            return await answer(request)
        try:
            return await self._usual(request, body)
        except (asyncio.CancelledError, ConnectionResetError):
            self.closed_early += 1
            raise

    async def _usual(self, request: web.Request, body: Json) -> web.StreamResponse:
        match request.path:
            case "/health":
                return web.Response()
            case "/version":
                return web.json_response({"version": "0.32.0"})
            case "/v1/models":
                models = {"id": self.model, "object": "model", "root": "/models/tiny", "max_model_len": 1024}
                return web.json_response({"object": "list", "data": [models]})
            case "/v1/chat/completions" | "/v1/completions":
                chat = request.path.startswith("/v1/chat")
                return await (self._stream(request, body, chat) if body.get("stream") else self._whole(body, chat))
            case "/v1/embeddings":
                data = [{"index": i, "embedding": [i, 0.5]} for i in reversed(range(len(body["input"])))]
                return web.json_response({"model": self.model, "data": data, "usage": {"prompt_tokens": 3}})
            case "/v1/rerank":
                found = [
                    {"index": i, "document": {"text": text}, "relevance_score": i / 10}
                    for i, text in enumerate(body["documents"])
                ]
                return web.json_response({"id": "rerank-1", "model": self.model, "results": found})
            case "/score":
                return web.json_response({"model": self.model, "data": [{"index": 0, "score": 0.25}]})
            case "/tokenize":
                answer = {"count": 2, "max_model_len": 1024, "tokens": [1, 2], "token_strs": None}
                return web.json_response(answer)
            case "/detokenize":
                return web.json_response({"prompt": "Hello"})
        return web.json_response({"detail": "Not Found"}, status=404)

    async def _whole(self, body: Json, chat: bool) -> web.StreamResponse:
        await asyncio.sleep(self.word_seconds * len(self.words))
        text = "".join(self.words)
        inner = {"message": {"role": "assistant", "content": text, "tool_calls": []}} if chat else {"text": text}
        choice = {"index": 0, **inner, "logprobs": None, "finish_reason": "stop"}
        return web.json_response({**self._head(body), "choices": [choice], "usage": self._usage()})

    async def _stream(self, request: web.Request, body: Json, chat: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for piece in ("", *self.words):
            await response.write(self.event(self.piece(piece, body, chat)))
            await asyncio.sleep(self.word_seconds)
        await response.write(self.event(self.piece("", body, chat, "stop")))
        await response.write(self.event({**self._head(body), "choices": [], "usage": self._usage()}))
        await response.write(b"data: [DONE]\n\n")
        return response

    def piece(self, text: str, body: Json | None = None, chat: bool = True, finish: str | None = None) -> Json:
        """A chunk of a stream."""
        inner: Json = {"delta": {"content": text}} if chat else {"text": text}
        return {**self._head(body or {}), "choices": [{"index": 0, **inner, "finish_reason": finish}]}

    @staticmethod
    def event(chunk: Json) -> bytes:
        """A chunk as an event."""
        return b"data: " + orjson.dumps(chunk) + b"\n\n"

    def _head(self, body: Json) -> Json:
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body.get("model", self.model)}

    def _usage(self) -> Json:
        return {"prompt_tokens": 5, "completion_tokens": len(self.words), "total_tokens": 5 + len(self.words)}


def status(code: int, message: str = "no", *, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    """Return a handler that answers with an error as vLLM writes it."""

    async def answer(_: web.Request) -> web.StreamResponse:
        error = {"message": message, "type": "Error", "param": None, "code": code, **fields}
        return web.json_response({"error": error}, status=code, headers=headers)

    return answer


def stream_of(*pieces: bytes, seconds: float = 0.0, hang: bool = False, abort: bool = False) -> Answer:
    """Return a handler that streams pieces; then it ends, hangs, or breaks the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(seconds)
        if hang:
            await asyncio.sleep(3600)
        if abort:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


async def abort_connection(request: web.Request) -> web.StreamResponse:
    """Break the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(3600)
    return web.Response()
