"""Test how requests are reported in the terms of RBAC."""

from __future__ import annotations

import pytest
from aiohttp import ClientConnectorError, ClientSession, web
from aiohttp.test_utils import TestServer

from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.request_metrics import RequestMetrics, rbac_verb_and_resource


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", "labelSelector=a", ("list", "pods")),
        ("GET", "/api/v1/namespaces/llm/pods", "watch=true&allowWatchBookmarks=true", ("watch", "pods")),
        ("GET", "/api/v1/namespaces/llm/secrets/hub", "", ("get", "secrets")),
        ("GET", "/api/v1/namespaces/llm/pods/a/log", "previous=true", ("get", "pods/log")),
        ("GET", "/api/v1/namespaces", "", ("list", "namespaces")),
        ("GET", "/api/v1/namespaces/llm", "", ("get", "namespaces")),
        ("PATCH", "/apis/apps/v1/namespaces/llm/deployments/a", "force=true", ("patch", "deployments")),
        ("PATCH", "/apis/vllm-operator.dev/v1alpha1/namespaces/llm/vllmservers/a/status", "",
         ("patch", "vllmservers/status")),
        ("POST", "/apis/events.k8s.io/v1/namespaces/llm/events", "", ("create", "events")),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/ops/leases/a", "", ("update", "leases")),
        ("DELETE", "/apis/policy/v1/namespaces/llm/poddisruptionbudgets/a", "", ("delete", "poddisruptionbudgets")),
        ("GET", "/apis/monitoring.coreos.com/v1", "", ("get", "discovery")),
        ("GET", "/apis", "", ("get", "discovery")),
        ("GET", "/version", "", ("get", "discovery")),
    ],
)  # fmt: skip
def test_verb_and_resource_are_those_of_a_rule(method: str, path: str, query: str, expected: tuple[str, str]) -> None:
    assert rbac_verb_and_resource(method, path, query) == expected


async def test_responses_and_failures_are_reported() -> None:
    calls: list[tuple[str, str, int | None]] = []

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=403)

    application = web.Application()
    application.router.add_get("/api/v1/pods", refuse)
    meter = RequestMetrics(
        lambda verb, resource, code, seconds: calls.append((verb, resource, code)), ApiServerAvailability()
    )
    async with ClientSession(middlewares=(meter,)) as session:
        async with TestServer(application) as server:
            await session.get(server.make_url("/api/v1/pods"))
        with pytest.raises(ClientConnectorError):
            await session.post("http://127.0.0.1:1/api/v1/pods")
    assert calls == [("list", "pods", 403), ("create", "pods", None)]


async def test_first_response_after_a_refused_connection_is_a_recovery() -> None:
    back: list[bool] = []

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="{}")

    application = web.Application()
    application.router.add_get("/version", answer)
    meter = RequestMetrics(lambda *_: None, ApiServerAvailability(lambda: back.append(True)))
    async with ClientSession(middlewares=(meter,)) as session, TestServer(application) as server:
        await session.get(server.make_url("/version"))
        assert back == []
        with pytest.raises(ClientConnectorError):
            await session.post("http://127.0.0.1:1/api/v1/pods")
        await session.get(server.make_url("/version"))
        await session.get(server.make_url("/version"))
    assert back == [True]
