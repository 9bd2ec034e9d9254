"""The clients that `make bench-client` compares, each with the two calls that are measured.

All of them send the same request. All of them parse the answer: the plain HTTP clients with orjson, which makes them
the fastest honest comparison.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import orjson

REQUEST: dict[str, Any] = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Explain PagedAttention in one sentence."}],
    "max_tokens": 256,
    "temperature": 0.7,
}
STREAM_REQUEST = {**REQUEST, "stream": True, "stream_options": {"include_usage": True}}
JSON = {"content-type": "application/json"}
NO_KEY = "unused"
TIMEOUT_SECONDS = 120.0


def limit_tokens(most: int) -> None:
    """Let all requests of this process ask for this many tokens at most."""
    REQUEST["max_tokens"] = STREAM_REQUEST["max_tokens"] = most


class Subject(Protocol):
    """One client under measurement."""

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""

    async def stream(self) -> int:
        """Request one completion as a stream and return its number of pieces of text."""


def pieces(event: bytes) -> int:
    """Return how many pieces of text one line of an event stream holds."""
    if not event.startswith(b"data: ") or event.startswith(b"data: [DONE]"):
        return 0
    choices = orjson.loads(event[6:])["choices"]
    return int(bool(choices and choices[0]["delta"].get("content")))


def text_length(body: bytes) -> int:
    """Return the length of the text of a completion."""
    return len(orjson.loads(body)["choices"][0]["message"]["content"])


class LineCounter:
    """Counts pieces of text in a body that arrives in parts."""

    def __init__(self) -> None:
        self.found = 0
        self._rest = b""

    def feed(self, part: bytes) -> None:
        """Count the pieces in the lines that `part` completes."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        self.found += sum(map(pieces, lines))


class RawAiohttp:
    """aiohttp and orjson without any other layer."""

    def __init__(self, session: Any, url: str, headers: dict[str, str]) -> None:
        self._session, self._url, self._headers = session, url + "/v1/chat/completions", {**JSON, **headers}

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""
        async with self._session.post(self._url, data=orjson.dumps(REQUEST), headers=self._headers) as response:
            response.raise_for_status()
            return text_length(await response.read())

    async def stream(self) -> int:
        """Request one stream and return its number of pieces of text."""
        found = 0
        async with self._session.post(self._url, data=orjson.dumps(STREAM_REQUEST), headers=self._headers) as response:
            response.raise_for_status()
            async for line in response.content:
                found += pieces(line)
        return found


@asynccontextmanager
async def aiohttp_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield raw aiohttp."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield RawAiohttp(session, url, headers)


class Httpx:
    """A client with the API of httpx."""

    def __init__(self, client: Any, url: str, headers: dict[str, str]) -> None:
        self._client, self._url, self._headers = client, url + "/v1/chat/completions", {**JSON, **headers}

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""
        response = await self._client.post(self._url, content=orjson.dumps(REQUEST), headers=self._headers)
        response.raise_for_status()
        return text_length(response.content)

    async def stream(self) -> int:
        """Request one stream and return its number of pieces of text."""
        counter = LineCounter()
        body = orjson.dumps(STREAM_REQUEST)
        async with self._client.stream("POST", self._url, content=body, headers=self._headers) as response:
            response.raise_for_status()
            async for part in response.aiter_raw():
                counter.feed(part)
        return counter.found


@asynccontextmanager
async def httpx_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield httpx with one shared client."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield Httpx(client, url, headers)


@asynccontextmanager
async def httpx_aiohttp_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield httpx that sends through aiohttp."""
    import httpx
    from httpx_aiohttp import HttpxAiohttpClient

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with HttpxAiohttpClient(timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield Httpx(client, url, headers)


@asynccontextmanager
async def httpx2_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield httpx2 with one shared client."""
    import httpx2

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield Httpx(client, url, headers)


@asynccontextmanager
async def httpx2_aiohttp_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield httpx2 that sends through aiohttp."""
    import httpx2
    from httpx_aiohttp.httpx2 import Httpx2AiohttpClient

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with Httpx2AiohttpClient(timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield Httpx(client, url, headers)


class GuideHttpx(Httpx):
    """httpx as the guide uses it: a new client, and so a new connection, for each request."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        super().__init__(None, url, headers)

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""
        import httpx

        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
            response = await client.post(self._url, json=REQUEST, headers=self._headers)
        response.raise_for_status()
        return len(response.json()["choices"][0]["message"]["content"])


@asynccontextmanager
async def guide_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield httpx with a new client for each request."""
    yield GuideHttpx(url, headers)


class Pyreqwest:
    """pyreqwest, whose sockets and parser are written in Rust."""

    def __init__(self, client: Any, url: str, headers: dict[str, str]) -> None:
        self._client, self._url, self._headers = client, url + "/v1/chat/completions", {**JSON, **headers}

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""
        request = self._client.post(self._url).headers(self._headers).body_bytes(orjson.dumps(REQUEST))
        response = await request.build().send()
        return text_length(bytes(await response.bytes()))

    async def stream(self) -> int:
        """Request one stream and return its number of pieces of text."""
        counter = LineCounter()
        request = self._client.post(self._url).headers(self._headers).body_bytes(orjson.dumps(STREAM_REQUEST))
        async with request.build_streamed() as response:
            reader = response.body_reader
            while (part := await reader.read_chunk()) is not None:
                counter.feed(bytes(part))
        return counter.found


@asynccontextmanager
async def pyreqwest_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield pyreqwest."""
    from datetime import timedelta

    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().error_for_status(True).max_connections(None).timeout(timedelta(seconds=TIMEOUT_SECONDS))
    async with builder.build() as client:
        yield Pyreqwest(client, url, headers)


class OpenAI:
    """The openai SDK."""

    def __init__(self, client: Any, headers: dict[str, str]) -> None:
        self._client, self._headers = client, headers

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""
        found = await self._client.chat.completions.create(**REQUEST, extra_headers=self._headers)
        return len(found.choices[0].message.content)

    async def stream(self) -> int:
        """Request one stream and return its number of pieces of text."""
        found = 0
        async for chunk in await self._client.chat.completions.create(**STREAM_REQUEST, extra_headers=self._headers):
            found += bool(chunk.choices and chunk.choices[0].delta.content)
        return found


@asynccontextmanager
async def openai_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield the openai SDK alone."""
    import openai

    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=NO_KEY, timeout=TIMEOUT_SECONDS) as client:
        yield OpenAI(client, headers)


@asynccontextmanager
async def openai_aiohttp_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield the openai SDK with its own aiohttp transport."""
    import openai

    http = openai.DefaultAioHttpClient(timeout=TIMEOUT_SECONDS)
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=NO_KEY, http_client=http) as client:
        yield OpenAI(client, headers)


class OurClient:
    """Our asynchronous client, with its retries, circuit breaker and typed answers."""

    def __init__(self, client: Any, headers: dict[str, str]) -> None:
        self._client = client
        self._options = {"max_tokens": REQUEST["max_tokens"], "temperature": REQUEST["temperature"]}
        if headers:
            self._options["extra_headers"] = headers

    async def answer(self) -> int:
        """Request one completion and return the length of its text."""
        return len((await self._client.chat(REQUEST["messages"], **self._options)).content)

    async def stream(self) -> int:
        """Request one completion as a stream and return its number of pieces of text."""
        found = 0
        async for delta in self._client.stream_chat(REQUEST["messages"], **self._options):
            found += bool(delta.content)
        return found


@asynccontextmanager
async def our_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield our asynchronous client."""
    from vllm_operator.client import AsyncVLLMClient

    async with AsyncVLLMClient(url, model=REQUEST["model"]) as client:
        yield OurClient(client, headers)


@asynccontextmanager
async def our_openai_subject(url: str, headers: dict[str, str]) -> AsyncIterator[Subject]:
    """Yield the openai SDK with our transport."""
    from vllm_operator.client import async_openai_client

    async with async_openai_client(url) as client:
        yield OpenAI(client, headers)


SUBJECTS = {
    "raw aiohttp": aiohttp_subject,
    "vllm_operator.client": our_subject,
    "pyreqwest": pyreqwest_subject,
    "httpx": httpx_subject,
    "httpx, a client for each request": guide_subject,
    "httpx with aiohttp": httpx_aiohttp_subject,
    "httpx2": httpx2_subject,
    "httpx2 with aiohttp": httpx2_aiohttp_subject,
    "openai": openai_subject,
    "openai with its aiohttp": openai_aiohttp_subject,
    "openai with our transport": our_openai_subject,
}
ANSWERS_ONLY = {"httpx, a client for each request"}
