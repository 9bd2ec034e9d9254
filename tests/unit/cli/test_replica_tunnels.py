from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.pods import loading_pod, ready_pod
from vllm_operator.cli import tunnel
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.replica_tunnels import RETRY_SECONDS, ReplicaTunnels

CLUSTER: Any = None


class FakeTunnel:
    """A tunnel whose URL is the name of its pod."""

    open_now: set[str] = set()
    refused: set[str] = set()

    def __init__(self, cluster: Any, pod: dict[str, Any]) -> None:
        self.url = str(pod["metadata"]["name"])

    def __enter__(self) -> FakeTunnel:
        if self.url in self.refused:
            raise CallError("no way", 1)
        self.open_now.add(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self.open_now.discard(self.url)


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "PodTunnel", FakeTunnel)
    monkeypatch.setattr(FakeTunnel, "open_now", set())
    monkeypatch.setattr(FakeTunnel, "refused", set())


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_new_replicas_get_load_and_those_that_end_get_no_more() -> None:
    with ReplicaTunnels(CLUSTER, [ready_pod("a"), loading_pod("b")]) as tunnels:
        assert tunnels.urls() == ["a"]
        tunnels.follow([ready_pod("a"), ready_pod("b")])
        until(lambda: tunnels.urls() == ["a", "b"])
        ending = ready_pod("a")
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        tunnels.follow([ending, ready_pod("b")])
        assert tunnels.urls() == ["b"]
        assert FakeTunnel.open_now == {"a", "b"}, "running requests of a may end"
        assert tunnels.opened == 2
    assert FakeTunnel.open_now == set()


def test_a_replica_that_is_not_reached_at_first_ends_the_command() -> None:
    FakeTunnel.refused = {"b"}
    with pytest.raises(CallError), ReplicaTunnels(CLUSTER, [ready_pod("a"), ready_pod("b")]):
        pass
    assert FakeTunnel.open_now == set()


def test_a_new_replica_that_is_not_reached_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    with ReplicaTunnels(CLUSTER, [ready_pod("a")]) as tunnels:
        FakeTunnel.refused = {"b"}
        tunnels.follow([ready_pod("a"), ready_pod("b")])
        until(lambda: "b" in tunnels._retry_at)
        FakeTunnel.refused = set()
        tunnels.follow([ready_pod("a"), ready_pod("b")])
        assert tunnels.urls() == ["a"]
        monkeypatch.setattr(time, "monotonic", lambda: now + RETRY_SECONDS + 60)
        tunnels.follow([ready_pod("a"), ready_pod("b")])
        monkeypatch.undo()
        monkeypatch.setattr(tunnel, "PodTunnel", FakeTunnel)
        until(lambda: tunnels.urls() == ["a", "b"])
