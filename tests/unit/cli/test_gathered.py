from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object
from tests.helpers.pods import ready_pod
from vllm_operator.cli import gathered
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import CHILD_KINDS, EVENT, POD

SERVER = {"metadata": {"name": "mistral", "namespace": "llm"}}
EMPTY: tuple[int, Any] = (200, {"items": []})
FORBIDDEN = (403, status_object(403, "Forbidden", "no"))


def gather(folder: Path, answers: dict[str, tuple[int, Any]]) -> gathered.Gathered:
    base = {f"GET {gathered.REPLICA_SET.path('llm')}": EMPTY, f"GET {POD.path('llm')}": EMPTY}
    with fake_api_server({**base, **answers}, folder) as (_, path):
        return gathered.gather(Cluster(ClusterOptions(kubeconfig=path)), SERVER)


def test_children_revisions_and_pods_are_read(tmp_path: Path) -> None:
    sets = [
        {"metadata": {"name": f"mistral-{number}", "annotations": {gathered.REVISION: str(number)}}}
        for number in (2, 10)
    ]
    state = gather(
        tmp_path,
        {
            f"GET {CHILD_KINDS['Deployment'].path('llm', 'mistral')}": (200, {"kind": "Deployment"}),
            f"GET {CHILD_KINDS['PersistentVolumeClaim'].path('llm', 'mistral-cache')}": (200, {"kind": "Claim"}),
            f"GET {gathered.REPLICA_SET.path('llm')}": (200, {"items": sets}),
            f"GET {POD.path('llm')}": (200, {"items": [ready_pod("b"), ready_pod("a")]}),
        },
    )
    assert set(state.children) == {"Deployment", "PersistentVolumeClaim"}
    assert [gathered.revision(one) for one in state.replica_sets] == [10, 2]
    assert [pod["metadata"]["name"] for pod in state.pods] == ["a", "b"]
    assert state.unread == ()


def test_missing_right_is_written_down_and_the_rest_is_read(tmp_path: Path) -> None:
    state = gather(tmp_path, {f"GET {POD.path('llm')}": FORBIDDEN})
    assert state.pods == []
    assert "no right to list pods in namespace llm" in state.unread[0]


@pytest.mark.parametrize("value", [None, "x", "-1", "9" * 20, 3])
def test_odd_revision_is_0(value: object) -> None:
    assert gathered.revision({"metadata": {"annotations": {gathered.REVISION: value}}}) == 0
    assert gathered.revision({"metadata": {"annotations": None}}) == 0


def test_port_and_scheme_follow_the_container() -> None:
    container = {
        "name": "vllm",
        "ports": [{"name": "metrics", "containerPort": 1}, {"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"scheme": "HTTPS"}},
    }
    pod = {"spec": {"containers": [{"name": "other"}, container]}}
    assert gathered.engine_port(pod) == 8080
    assert gathered.engine_scheme(pod) == "https"
    assert gathered.engine_port({"spec": {"containers": [{"name": "vllm", "ports": [{"name": "http"}]}]}}) == 8000
    assert gathered.engine_port({}) == 8000
    assert gathered.engine_scheme({}) == "http"


def test_hash_is_that_of_the_label() -> None:
    assert gathered.pod_hash({"metadata": {"labels": {"pod-template-hash": "abc"}}}) == "abc"
    assert gathered.pod_hash({"metadata": {"labels": 3}}) == ""


def test_events_are_those_of_the_objects_in_their_order(tmp_path: Path) -> None:
    events = [
        {"involvedObject": {"name": "a"}, "lastTimestamp": "2026-01-02T00:00:00Z"},
        {"involvedObject": {"name": "a"}, "eventTime": "2026-01-01T00:00:00Z"},
        {"involvedObject": {"name": "other"}, "lastTimestamp": "2026-01-03T00:00:00Z"},
        {"involvedObject": None},
    ]
    with fake_api_server({f"GET {EVENT.path('llm')}": (200, {"items": events})}, tmp_path) as (_, path):
        found = gathered.events_of(Cluster(ClusterOptions(kubeconfig=path)), ["a"])
    assert [gathered.event_time(event) for event in found] == ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]


def test_replica_statuses_are_found_by_pod() -> None:
    body = {"status": {"replicaStatuses": [{"pod": "a", "phase": "Serving"}, "odd"]}}
    assert gathered.Gathered(body, {}).replica_statuses == {"a": {"pod": "a", "phase": "Serving"}}
