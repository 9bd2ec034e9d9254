from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from tests.helpers.pods import crashed_pod, ready_pod, termination
from vllm_operator.cli.gathered import REVISION, Gathered
from vllm_operator.cli.load import ReplicaLoad
from vllm_operator.cli.tree import autoscaler_text, capacity_text, load_text, server_tree

HASHES = ("5f9c6d7b8", "7d4b5c6f9")


def replica_set(number: int, revision: str, replicas: int, image: str) -> dict[str, Any]:
    return {
        "metadata": {"annotations": {REVISION: str(number)}, "labels": {"pod-template-hash": revision}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "vllm", "image": image}]}}},
        "status": {"readyReplicas": replicas},
    }


SERVER = {
    "metadata": {"name": "mistral", "namespace": "llm", "generation": 1},
    "spec": {"model": {"uri": "hf://org/name"}, "image": "vllm:1"},
    "status": {
        "observedGeneration": 1,
        "phase": "Degraded",
        "message": "1/2 replicas serve",
        "version": "0.32.0",
        "servedModels": ["name"],
        "endpoint": "http://mistral.llm.svc",
        "capacity": {"kvCacheTokens": 412000, "maxModelLen": 8192, "concurrency": 50},
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "RollingOut", "message": "one replica is missing"},
            {"type": "Progressing", "status": "False", "reason": "Complete", "message": "done"},
            {"type": "Stalled", "status": "False", "reason": "NotStalled", "message": "nothing waits"},
            {"type": "EngineHealthy", "status": "Unknown", "reason": "NoEngine", "message": "no engine is up"},
        ],
        "replicaStatuses": [
            {"pod": "new", "phase": "CrashLooping", "message": "exit code 1: set \x1b[31mmaxModelLen", "since": "x"},
            {"pod": "old", "phase": "Serving"},
        ],
    },
}
CHILDREN = {
    "PersistentVolumeClaim": {
        "metadata": {"name": "mistral-cache"},
        "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}},
    },
    "PodDisruptionBudget": {"status": {"disruptionsAllowed": 1}},
    "Service": {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}},
    "PodMonitor": {},
}


def drawn(state: Gathered, loads: dict[str, ReplicaLoad] | None = None) -> str:
    console = Console(file=io.StringIO(), width=400, markup=False, emoji=False, highlight=False)
    console.print(server_tree(state, loads or {}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


@pytest.fixture
def state() -> Gathered:
    pods = [crashed_pod(termination(1), "new"), ready_pod("old", HASHES[1])]
    pods[0]["metadata"]["labels"]["pod-template-hash"] = HASHES[0]
    sets = [
        replica_set(3, HASHES[0], 1, "vllm:1"),
        replica_set(2, HASHES[1], 1, "vllm:0"),
        replica_set(1, "gone", 0, "vllm:00"),
    ]
    return Gathered(SERVER, CHILDREN, sets, pods, ("no right to list pods",))


def test_tree_shows_revisions_with_their_replicas_and_load(state: Gathered) -> None:
    lines = drawn(state, {"old": ReplicaLoad(3, 1, 0.125)}).splitlines()
    assert lines[0].startswith("llm/mistral  Degraded  1/2 replicas serve")
    place = next(number for number, line in enumerate(lines) if "revision 3, newest: 1/1 ready, vllm:1" in line)
    assert "new  CrashLooping" in lines[place + 1]
    assert "exit code 1: set maxModelLen" in lines[place + 1]
    assert "revision 2: 1/1 ready, vllm:0" in lines[place + 2]
    assert "running 3, waiting 1, KV cache 12.5%" in lines[place + 3]
    assert not [line for line in lines if "revision 1" in line]


def test_tree_shows_facts_conditions_and_children(state: Gathered) -> None:
    text = drawn(state)
    assert "hf://org/name, served as name" in text
    assert "412,000 tokens of KV cache, 8,192 tokens of context, 50 full contexts at once" in text
    assert "Ready=False RollingOut: one replica is missing" in text
    assert "EngineHealthy=Unknown NoEngine: no engine is up" in text
    assert "Progressing=False Complete\n" in text
    assert "claim mistral-cache, Bound, 10Gi" in text
    assert "1 allowed now" in text
    assert "monitoring: PodMonitor" in text
    assert "not shown: no right to list pods" in text
    assert "\x1b" not in text


def test_empty_server_is_drawn() -> None:
    text = drawn(Gathered({"metadata": {"name": "a", "namespace": "b", "generation": 1}}, {}))
    assert "b/a  not judged yet" in text
    assert "has not judged this spec yet" in text


def test_pods_of_no_revision_are_shown_too(state: Gathered) -> None:
    assert "old" in drawn(Gathered(SERVER, {}, [], state.pods))


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (ReplicaLoad(1, 0, 0.5), "running 1, waiting 0, KV cache 50.0%"),
        (ReplicaLoad(), "running unknown, waiting unknown, KV cache unknown"),
        (ReplicaLoad(problem="no right to get pods/proxy"), "load unknown (no right to get pods/proxy)"),
    ],
)
def test_load_in_words(load: ReplicaLoad, text: str) -> None:
    assert load_text(load) == text


def test_unknown_capacity_is_called_unknown() -> None:
    assert capacity_text({"kvCacheTokens": "x"}) == "unknown"


def test_autoscaler_shows_bounds_targets_and_problems() -> None:
    metric = {"pods": {"metric": {"name": "m"}, "target": {"averageValue": "50"}}}
    current = {"pods": {"metric": {"name": "m"}, "current": {"averageValue": "12"}}}
    scaler: dict[str, Any] = {
        "spec": {"minReplicas": 1, "maxReplicas": 3, "metrics": [metric]},
        "status": {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": [current]},
    }
    assert autoscaler_text(scaler) == "2 replicas, wants 3 of 1 to 3; m 12 (target 50)"
    scaler["status"] = {"conditions": [{"type": "ScalingActive", "status": "False", "message": "no metrics"}]}
    assert autoscaler_text(scaler).endswith("m unknown (target 50); no metrics")
