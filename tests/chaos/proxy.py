"""A proxy between the operator and the API server: it counts what passes, and faults are put into it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from vllm_operator.kube.kinds import WATCHED_KINDS

T = TypeVar("T")

PLURALS = frozenset(kind.plural for kind in WATCHED_KINDS)

HOP_BY_HOP = frozenset(
    {
        "authorization",
        "host",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "accept-encoding",
        "user-agent",
    }
)


@dataclass
class Call:
    """One request of the operator; `status` is what the API server answered, 0 when it was not asked."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str = ""
    started: float = field(default_factory=time.monotonic)
    status: int = 0

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and not self.is_watch and self.path.rpartition("/")[2] in PLURALS

    def concerns(self, namespace: str) -> bool:
        """Return whether the call is about objects of this namespace."""
        return f"/namespaces/{namespace}/" in self.path + "/"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Answer:
    """An answer of the API server to a call other than a watch."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    torn: bool = False
    """Break the connection after half of the body."""

    @classmethod
    def error(cls, status: int, reason: str, **headers: str) -> Answer:
        """A Status object, as the API server sends it."""
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps({**body, "message": f"injected: {reason}"}).encode(), headers=named)


class Dropped(Exception):  # no error: what a fault asks for
    """Raised by a fault: the operator's connection is closed without a further byte."""


class Fault:
    """The behaviour of the proxy; this one passes everything through. Faults run in the proxy's own thread."""

    async def before(self, call: Call) -> Answer | None:
        """An answer in the API server's place, which is then not asked."""
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Return the answer for the operator, given the one of the API server."""
        return answer

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the lines of a watch for the operator, one for each event."""
        async for line in lines:
            yield line


@dataclass
class Proxy:
    """HTTP or HTTPS on a loopback port; to the API server with the client certificate of its kubeconfig.

    Attributes:
        upstream: the administrator's kubeconfig.
        folder: where the operator's kubeconfig is written.
        agent: appended to the User-Agent, so that the audit log distinguishes operators.
        one_at_a_time: a write waits for the answer to the one before, so that a fault can strike between them.
        certificate: the files of the certificate that it shows, and of its key; None for HTTP.
        authority: the file of the CA that the kubeconfig names.
        hellos: times at which TLS connections began, failed ones included.
    """

    upstream: Path
    folder: Path
    agent: str = ""
    fault: Fault = field(default_factory=Fault)
    one_at_a_time: bool = True
    certificate: tuple[Path, Path] | None = None
    authority: Path | None = None
    calls: list[Call] = field(default_factory=list)
    hellos: list[float] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _port: int = 0

    def __enter__(self) -> Proxy:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.run(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that leads to this proxy."""
        return self.folder / f"proxy-{self._port}.kubeconfig"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self._port}"

    def write_kubeconfig(self, token: str = "unused") -> None:
        """Write it again, as a rotation of credentials does."""
        self.kubeconfig.write_text(json.dumps(_kubeconfig(self.url, token, self.authority)))

    def show(self, certificate: tuple[Path, Path]) -> None:
        """Show another certificate, as an API server that was restarted with it: every connection ends."""
        self.go_away()
        self.certificate = certificate
        self.come_back()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 20) -> T:
        """Run a coroutine in the proxy's thread."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except NotYet:
            future.cancel()
            raise

    def count(self, chosen: Callable[[Call], bool], since: int = 0) -> int:
        """How many calls were of a kind."""
        return sum(1 for call in self.calls[since:] if chosen(call))

    def cut(self) -> None:
        """Close every connection of the operator, watches too."""
        self.run(self._cut())

    def go_away(self) -> None:
        """Refuse connections, as a host does on which nothing listens."""
        self.run(self._site.stop())
        self.run(self._end_connections())

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self.run(self._listen())

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True, ssl_context=self._context())
        await self._site.start()

    def _context(self) -> ssl.SSLContext | None:
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificate)
        # Called at each handshake, before the client has seen the certificate.
        context.sni_callback = lambda *_: self.hellos.append(time.monotonic())
        return context

    async def _cut(self) -> None:
        for request in list(self._open.values()):
            if request.transport is not None:
                request.transport.abort()

    async def _end_connections(self) -> None:
        """Idle ones too: over those the operator would go on as if nothing had happened."""
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _start(self) -> None:
        self._open: dict[int, web.BaseRequest] = {}
        self._write_at_a_time = asyncio.Lock()
        self._server, context = _credentials(self.upstream)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=context), timeout=timeout, auto_decompress=False
        )
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=True), shutdown_timeout=0.1
        )
        await self._runner.setup()
        await self._listen()
        self._port = self._runner.addresses[0][1]
        self.write_kubeconfig()

    async def _stop(self) -> None:
        await self._cut()
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call(request.method, request.path, dict(request.query), request.headers.get("Authorization", ""))
        self.calls.append(call)
        self._open[id(request)] = request
        try:
            async with self._write_at_a_time if call.is_write and self.one_at_a_time else contextlib.nullcontext():
                return await self._answer(request, call)
        except (Dropped, aiohttp.ClientError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)
        finally:
            self._open.pop(id(request), None)

    async def _answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        answer = await self.fault.before(call)
        if answer is None and call.is_watch:
            return await self._watch(request, call)
        if answer is None:
            answer = await self.fault.after(call, await self._forward(request, call))
        headers = {"Content-Type": answer.content_type, **answer.headers}
        if answer.torn:
            return await _tear(request, answer, headers)
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    def _request(self, request: web.BaseRequest, body: bytes | None) -> Any:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        headers["User-Agent"] = request.headers.get("User-Agent", "") + self.agent
        headers["Accept-Encoding"] = "identity"
        return self._session.request(request.method, self._server + request.path_qs, data=body, headers=headers)

    async def _forward(self, request: web.BaseRequest, call: Call) -> Answer:
        async with self._request(request, await request.read() or None) as response:
            body = await response.read()
            call.status = response.status
            passed = {name: response.headers[name] for name in ("Retry-After",) if name in response.headers}
            return Answer(response.status, body, response.headers.get("Content-Type", ""), passed)

    async def _watch(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        async with self._request(request, None) as response:
            call.status = response.status
            stream = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json"})
            await stream.prepare(request)
            async for line in self.fault.events(call, _lines(response.content)):
                await stream.write(line)
            await stream.write_eof()
            return stream


async def _tear(request: web.BaseRequest, answer: Answer, headers: dict[str, str]) -> web.StreamResponse:
    stream = web.StreamResponse(status=answer.status, headers=headers)
    stream.content_length = len(answer.body)
    await stream.prepare(request)
    await stream.write(answer.body[: len(answer.body) // 2])
    raise Dropped


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length."""
    rest = b""
    async for chunk in content.iter_any():
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line + b"\n"
    if rest:
        yield rest


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cafile=cluster["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    return cluster["server"], context


def _kubeconfig(server: str, token: str, authority: Path | None) -> dict[str, Any]:
    trusted = {"certificate-authority": str(authority)} if authority else {}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server, **trusted}}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
        "current-context": "proxy",
    }
