"""A new revision whose answers turn bad is taken back, by the requests that its fake vLLM counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.integration.replica import IDLE, FakeReplica, fake_replica
from tests.integration.servers import Servers
from tests.integration.stalled_replica import give_address
from tests.integration.test_rollout_status import wait_for_conditions
from tools.harness.kube import Object

OLD, NEW = "127.8.9.1", "127.8.9.2"
NAME = "worse"


class CountingAnswers(Mapping[str, str]):
    """Answers whose `/metrics` count ten more requests each time, some of them with an error."""

    def __init__(self, answers: Mapping[str, str], failed: int) -> None:
        self._answers = answers
        self._failed = failed
        self._times = 0

    def __getitem__(self, path: str) -> str:
        if path != "/metrics":
            return self._answers[path]
        self._times += 1
        lines = {"2xx": (10 - self._failed) * self._times, "5xx": self._failed * self._times}
        counters = (
            f'http_requests_total{{handler="/v1/completions",method="POST",status="{status}"}} {count}.0\n'
            for status, count in lines.items()
        )
        return IDLE + "".join(counters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._answers)

    def __len__(self) -> int:
        return len(self._answers)


@contextmanager
def counting_replica(address: str, failed: int) -> Iterator[FakeReplica]:
    """Run a fake that counts requests, of which this many of ten fail."""
    with fake_replica(address) as replica:
        replica.answers = CountingAnswers(replica.answers, failed)
        yield replica


@pytest.fixture
def engines() -> Iterator[None]:
    with counting_replica(OLD, failed=0), counting_replica(NEW, failed=6):
        yield


def serve(servers: Servers, address: str, without: set[str]) -> Object:
    """Let the pod that is not in `without` serve at an address."""

    def found() -> Object:
        living = [
            pod
            for pod in servers.kube.list("Pod", servers.namespace, f"app.kubernetes.io/instance={NAME}")
            if not pod["metadata"].get("deletionTimestamp") and pod["metadata"]["name"] not in without
        ]
        assert living
        return living[0]

    pod = servers.kube.eventually(found, within=30, namespace=servers.namespace)
    give_address(servers.kube, servers.namespace, pod, address)
    return pod


def test_revision_with_errors_is_taken_back_although_its_rollout_is_complete(servers: Servers, engines: None) -> None:
    spec = {
        "rollout": {"autoRollback": True},
        "accelerator": {"resourceName": ""},
        "health": {"probeIntervalSeconds": 1},
    }
    servers.create(NAME, spec)
    first = serve(servers, OLD, set())
    wait_for_conditions(servers, NAME, Ready=("True", "Serving"), Progressing=("False", "Complete"))
    threading.Event().wait(25)  # two samples of the old revision
    servers.patch(NAME, {"engine": {"env": [{"name": "CHANGE", "value": "1"}]}}, settled=False)
    second = serve(servers, NEW, {first["metadata"]["name"]})
    wait_for_conditions(servers, NAME, Ready=("True", "Serving"), Progressing=("False", "Complete"))
    # A revision is judged after a minute.
    third = servers.kube.eventually(
        lambda: serve(servers, OLD, {first["metadata"]["name"], second["metadata"]["name"]}), within=150
    )

    held = wait_for_conditions(servers, NAME, Progressing=("False", "RolledBack"), Available=("True", "Serving"))
    assert "requests to the new replicas failed with a server error (limit 5%)" in held["Progressing"]["message"]
    labels = [pod["metadata"]["labels"]["pod-template-hash"] for pod in (first, second, third)]
    assert labels[0] == labels[2] != labels[1]
    events = servers.kube.list("Event", servers.namespace)
    assert any(one["reason"] == "RolledBack" and "server error" in one.get("message", "") for one in events)
