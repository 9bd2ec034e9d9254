"""The HTTPS server of the metrics API, for the API server alone."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import signature
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from vllm_operator.errors import ApiError
from vllm_operator.kube.label_selector import InvalidSelectorError, LabelSelector, parse_selector
from vllm_operator.metrics_api import documents
from vllm_operator.metrics_api.access import AccessReviews, Attributes
from vllm_operator.metrics_api.front_proxy import FrontProxy, User, is_front_proxy, read_user
from vllm_operator.metrics_api.readings import ANY_NAME, READ_LOAD, LoadReader

HANDSHAKE_SECONDS = 5.0
"""Seconds that a caller has for its TLS handshake."""
MAX_HANDSHAKES = 128
"""TLS handshakes at once. Any pod may begin one, and each takes 0.3 MiB; beyond, the oldest ends."""
BACKLOG = 128
"""Connections that wait to be accepted."""
MAX_HEADER_BYTES = 16_384
"""Longest header field, in bytes."""
MAX_HEADERS = 1024
"""Most header fields: a user may be in hundreds of groups, each of which is a field."""
KEEP_ALIVE_SECONDS = 120.0
"""Seconds for which an idle connection is kept. The API server closes one after 90 s."""

_HEADER_LIMITS: dict[str, Any] = {"max_field_size": MAX_HEADER_BYTES}
if "max_headers" in signature(RequestHandler).parameters:
    # Newer releases of aiohttp count header fields, and refuse more than 128.
    _HEADER_LIMITS["max_headers"] = MAX_HEADERS

logger = logging.getLogger(__name__)

USER = web.RequestKey("user", User)
"""Where a request keeps its user."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MetricsServer:
    """Answer requests that the API server passes on.

    Args:
        reader: reads the load.
        reviews: decides who may read a metric.
        now: seconds since the epoch.
    """

    def __init__(self, reader: LoadReader, reviews: AccessReviews, now: Callable[[], float] = time.time) -> None:
        self._reader = reader
        self._reviews = reviews
        self._now = now
        self._proxy: FrontProxy | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._handshakes: dict[asyncio.Task[Any], None] = {}
        """Connections whose handshake is not finished, the oldest first."""

    async def serve(self, host: str | None, port: int, context: ssl.SSLContext, proxy: FrontProxy) -> None:
        """Listen with this certificate, in place of an earlier one; requests that run are finished.

        Raises:
            OSError: the address is taken.
        """
        self._proxy = proxy
        if self._runner is None:
            self._runner = web.AppRunner(
                self._application(),
                handle_signals=False,
                access_log=None,
                shutdown_timeout=1.0,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                **_HEADER_LIMITS,
            )
            await self._runner.setup()
        factory = self._runner.server
        assert factory is not None, "the runner is set up"
        if self._server is not None:
            self._server.close()
        self._server = await asyncio.get_running_loop().create_server(
            partial(self._accept, factory),
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            backlog=BACKLOG,
        )

    def _accept(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        """Return the protocol of a new connection; asyncio calls this in the task that then waits for its handshake."""
        task = asyncio.current_task()
        if task is not None:
            self._handshakes[task] = None
            task.add_done_callback(lambda done: self._handshakes.pop(done, None))
            if len(self._handshakes) > MAX_HANDSHAKES:
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()
        return factory()

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before it does."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server and self._server.sockets else 0

    async def close(self) -> None:
        """Stop listening, and close every connection."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._authenticate], client_max_size=1)
        version = "{version:" + "|".join(documents.VERSIONS) + "}"
        group = f"/apis/{documents.GROUP}"
        answers: dict[str, dict[str, Any]] = {
            "/apis": documents.group_list(),
            "/apis/": documents.group_list(),
            group: documents.api_group(),
            "/openapi/v2": documents.openapi_v2(),
            "/openapi/v3": documents.openapi_v3_root(),
            **{f"/openapi/v3/{path}": documents.openapi_v3() for path in documents.openapi_v3_paths()},
            **{f"{group}/{version}": documents.resource_list(version) for version in documents.VERSIONS},
        }
        app.add_routes([web.get(path, _constant(body)) for path, body in answers.items()])
        app.add_routes(
            [
                web.get(f"{group}/{version}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}", self._values),
                web.get("/{path:.*}", _not_found),
            ]
        )
        return app

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if self._proxy is None or not is_front_proxy(certificate, self._proxy):
            return _failure(401, "Unauthorized", "only the API server's front proxy may call")
        user = read_user(request.headers.items(), self._proxy)
        if user is None:
            return _failure(401, "Unauthorized", "the front proxy named no user")
        request[USER] = user
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _failure(error.status, error.reason.replace(" ", ""), error.reason)

    async def _values(self, request: web.Request) -> web.StreamResponse:
        """Answer with the values of one metric."""
        attributes = Attributes(
            *(request.match_info[part] for part in ("version", "namespace", "resource", "name", "metric"))
        )
        user = request[USER]
        try:
            decision = await self._reviews.decide(user, attributes)
        except ApiError as error:
            return _failure(503, "ServiceUnavailable", f"the access of {user.name} could not be reviewed: {error}")
        if not decision.allowed:
            return _failure(403, "Forbidden", _forbidden(user, attributes, decision.reason))
        if attributes.metric not in READ_LOAD or attributes.resource not in {documents.PODS, documents.SERVERS}:
            return _failure(404, "NotFound", _unknown(attributes))
        try:
            selector = parse_selector(request.query.get("labelSelector", ""))
            series = parse_selector(request.query.get("metricLabelSelector", ""))
        except InvalidSelectorError as error:
            return _failure(400, "BadRequest", str(error))
        # No series has labels: a selector that needs one matches none.
        values = await self._read(attributes, selector) if series.matches({}) else []
        if not values and attributes.name != ANY_NAME:
            return _failure(404, "NotFound", _absent(attributes))
        return _json(documents.value_list(attributes.version, attributes.resource, attributes.metric, values))

    async def _read(self, attributes: Attributes, selector: LabelSelector) -> list[documents.Value]:
        place = (attributes.namespace, attributes.name, selector, attributes.metric)
        if attributes.resource == documents.PODS:
            return await self._reader.pods(*place)
        return await self._reader.servers(*place, self._now())


def _constant(body: dict[str, Any]) -> Answer:
    raw = orjson.dumps(body)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=raw, content_type="application/json")

    return answer


async def _not_found(_: web.Request) -> web.StreamResponse:
    return _failure(404, "NotFound", "the server could not find the requested resource")


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def _failure(code: int, reason: str, message: str) -> web.Response:
    return _json(documents.failure(code, reason, message), code)


def _forbidden(user: User, attributes: Attributes, reason: str) -> str:
    place = f"{attributes.resource}.{documents.GROUP} in the namespace {attributes.namespace}"
    return f"user {user.name} cannot get {attributes.resource}/{attributes.metric} of {place}: {reason or 'no rule'}"


def _unknown(attributes: Attributes) -> str:
    return (
        f"there is no metric {attributes.metric} of {attributes.resource}: the operator serves "
        f"{', '.join(documents.METRICS)} of {documents.PODS} and {documents.SERVERS}"
    )


def _absent(attributes: Attributes) -> str:
    return (
        f"{attributes.resource} {attributes.namespace}/{attributes.name} has no {attributes.metric}: it does not "
        "exist, takes no requests, or does not answer"
    )
