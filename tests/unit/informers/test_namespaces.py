"""Serve those of the named namespaces whose Role is installed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from vllm_operator.errors import ApiError
from vllm_operator.informers import namespaces as module
from vllm_operator.informers.namespaces import ServedNamespaces


class FakeClient:
    """Answers lists with 403 in the unreadable namespaces."""

    def __init__(self, *unreadable: str, status: int | None = 403) -> None:
        self.unreadable = set(unreadable)
        self.status = status
        self.requests = 0

    async def list_page(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        self.requests += 1
        if self.unreadable.intersection(path.split("/")):
            raise ApiError(self.status, "Forbidden", "vllmservers is forbidden")
        return {}


def served(client: FakeClient, *namespaces: str) -> ServedNamespaces:
    return ServedNamespaces(client, namespaces)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)


async def test_cluster_wide_operator_checks_no_namespace() -> None:
    client = FakeClient()
    whole = served(client)
    await whole.wait_until_readable()
    assert (whole.is_cluster, whole.lists, client.requests) == (True, (None,), 0)


async def test_namespace_without_role_is_left_out_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    client = FakeClient("b")
    named = served(client, "a", "b")
    await named.wait_until_readable()
    assert (named.readable, named.unreadable, named.lists) == (("a",), ("b",), ("a",))
    waiting = asyncio.create_task(named.wait_for_new_role())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    client.unreadable.clear()
    await asyncio.wait_for(waiting, 5)
    [message] = [record.getMessage() for record in caplog.records]
    assert "namespace b is not served until its Role and RoleBinding are there" in message
    assert "manifests --serve b" in message


async def test_operator_without_any_role_waits_for_one() -> None:
    client = FakeClient("a")
    named = served(client, "a")
    waiting = asyncio.create_task(named.wait_until_readable())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    client.unreadable.clear()
    await asyncio.wait_for(waiting, 5)
    assert named.unreadable == ()


@pytest.mark.parametrize("status", [None, 401, 404, 500, 503])
async def test_other_errors_make_no_namespace_unreadable(status: int | None) -> None:
    named = served(FakeClient("a", status=status), "a")
    await named.wait_until_readable()
    assert named.unreadable == ()
