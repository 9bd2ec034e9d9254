"""The life of the metrics API: certificate, server and registration, of a leader and of a standby."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from tests.helpers.fakes import FakeApiClient
from tests.unit.metrics_api.fake_objects import FakeObjects, FakeSampler
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.metrics_api import service as module
from vllm_operator.metrics_api.certificates import VALID_DAYS, issue
from vllm_operator.metrics_api.readings import LoadReader
from vllm_operator.metrics_api.registration import MetricsService
from vllm_operator.metrics_api.service import MetricsApi, MetricsApiOptions, read_secret, secret_body
from vllm_operator.probing.load_sampler import LoadSampler

SERVICE = MetricsService("vllm-operator-system", "vllm-operator")
NOW = datetime.now(UTC)


class Bench:
    """One replica of the operator before a fake API server."""

    def __init__(self) -> None:
        self.client = FakeApiClient()
        ca = issue("x", NOW).authorities
        self.client.hold(
            {
                "kind": "ConfigMap",
                "metadata": {"name": "extension-apiserver-authentication"},
                "data": {"requestheader-client-ca-file": ca},
            }
        )
        self.leads = True
        self.changes = 0
        reader = LoadReader(FakeObjects(), cast("LoadSampler", FakeSampler()))
        api = cast("ApiClient", self.client)
        options = MetricsApiOptions("127.0.0.1", 0, SERVICE)
        self.api = MetricsApi(api, api, reader, options, lambda: self.leads, self.on_change)

    def on_change(self) -> None:
        self.changes += 1

    async def until(self, reason: str) -> None:
        async with asyncio.timeout(10):
            while self.api.state.reason != reason or (reason == "Served" and not self.api.port):
                self.make_available()
                await asyncio.sleep(0.01)

    async def listening(self) -> None:
        async with asyncio.timeout(10):
            while not self.api.port:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def make_available(self) -> None:
        for (kind, _), body in self.client.objects.items():
            if kind == "APIService":
                body["status"] = {"conditions": [{"type": "Available", "status": "True"}]}

    @property
    def secret(self) -> dict[str, Any] | None:
        return self.client.objects.get(("Secret", "vllm-operator-metrics-tls"))


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "OTHER_SECONDS", 0.01)
    return Bench()


@pytest.fixture
async def running(bench: Bench) -> AsyncIterator[Bench]:
    task = asyncio.create_task(bench.api.run())
    yield bench
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_leader_issues_serves_and_registers(running: Bench) -> None:
    await running.until("Served")

    known = read_secret(running.secret)
    assert known is not None
    assert known.key.startswith("-----BEGIN PRIVATE KEY")
    assert running.changes >= 1


async def test_standby_waits_for_the_certificate_and_serves_it(bench: Bench) -> None:
    bench.leads = False
    task = asyncio.create_task(bench.api.run())
    await asyncio.sleep(0.05)
    assert (bench.api.port, bench.secret) == (0, None)

    bench.client.hold(secret_body(SERVICE, issue(SERVICE.host, NOW)))
    await bench.listening()

    assert not any(kind == "APIService" for _, kind, _ in bench.client.requests)
    task.cancel()


@pytest.mark.parametrize(
    "body",
    [
        secret_body(SERVICE, issue(SERVICE.host, NOW - timedelta(days=VALID_DAYS - 1))),
        secret_body(SERVICE, issue("other", NOW)),
        {"kind": "Secret", "metadata": {"name": SERVICE.secret}, "data": {"tls.crt": "%"}},
    ],
    ids=["about to end", "of another host", "unreadable"],
)
async def test_unfit_certificate_is_replaced(bench: Bench, body: dict[str, Any]) -> None:
    held = bench.client.hold(body)
    task = asyncio.create_task(bench.api.run())

    await bench.until("Served")

    assert bench.secret is not None
    assert bench.secret["data"] != held["data"]
    task.cancel()


async def test_renewal_keeps_the_former_authority(bench: Bench) -> None:
    former = issue(SERVICE.host, NOW - timedelta(days=VALID_DAYS - 1))
    bench.client.hold(secret_body(SERVICE, former))
    task = asyncio.create_task(bench.api.run())

    await bench.until("Served")

    renewed = read_secret(bench.secret)
    assert renewed is not None
    assert renewed.authorities.endswith(former.authorities)
    task.cancel()


@pytest.mark.parametrize(
    ("verb", "kind", "status", "reason"),
    [
        ("get", "ConfigMap", 403, "MetricsAPIForbidden"),
        ("create", "APIService", 403, "MetricsAPIForbidden"),
        ("create", "Secret", 500, "MetricsAPIFailed"),
    ],
)
async def test_failures_are_reported_and_tried_again(
    bench: Bench, verb: str, kind: str, status: int, reason: str
) -> None:
    bench.client.errors[verb, kind] = ApiError(status, "x", "no")
    task = asyncio.create_task(bench.api.run())
    await bench.until(reason)

    bench.client.errors.clear()

    await bench.until("Served")
    task.cancel()


async def test_cluster_without_a_front_proxy_is_reported(running: Bench) -> None:
    running.client.objects["ConfigMap", "extension-apiserver-authentication"]["data"] = {}

    await running.until("NoFrontProxy")


async def test_port_that_is_taken_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(bench.api, "_options", MetricsApiOptions("127.0.0.1", port, SERVICE))
    task = asyncio.create_task(bench.api.run())

    await bench.until("MetricsAPIFailed")

    assert "not served" in bench.api.state.message
    task.cancel()
    server.close()


def test_missing_secret_is_none() -> None:
    assert read_secret(None) is None


@pytest.mark.parametrize(("kind", "verb"), [("ConfigMap", "get"), ("APIService", "create")])
async def test_missing_right_is_tried_rarely(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str, verb: str
) -> None:
    monkeypatch.setattr(module, "OTHER_SECONDS", 60.0)
    bench.client.errors[verb, kind] = ApiError(403, "Forbidden", "no")
    task = asyncio.create_task(bench.api.run())
    await bench.until("MetricsAPIForbidden")
    tried = len(bench.client.requests)

    await asyncio.sleep(0.1)

    assert len(bench.client.requests) == tried
    task.cancel()
