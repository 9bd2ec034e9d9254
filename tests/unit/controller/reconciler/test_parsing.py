"""A reconcile parses each cached object once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.unit.controller.reconciler.scene import Scene, settle, stalled_scene
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.spec_rate_limit import BURST, INTERVAL_SECONDS
from vllm_operator.informers import entry
from vllm_operator.kube.codec import parse_compressed
from vllm_operator.probing.health import ReplicaHealth

PODS = 100


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the cached objects that are parsed, by kind."""
    counts: Counter[str] = Counter()

    def count(raw: bytes) -> dict[str, Any]:
        body = parse_compressed(raw)
        counts[body["kind"]] += 1
        return body

    monkeypatch.setattr(entry, "parse_compressed", count)
    return counts


async def steady_scene(**spec: Any) -> Scene:
    """Return a server with 100 pods that all serve, and nothing left to do."""
    pods = [f"pod-{number}" for number in range(PODS)]
    scene = stalled_scene(pods, **spec)
    scene.probes.healths = dict.fromkeys(pods, ReplicaHealth("Serving"))
    await settle(scene)
    await scene.reconcile(2)
    scene.api.requests.clear()
    return scene


async def test_steady_reconcile_parses_server_deployment_and_pods_once(parsed: Counter[str]) -> None:
    scene = await steady_scene()
    parsed.clear()
    await scene.reconcile()

    assert scene.api.requests == []
    assert parsed == {"VLLMServer": 1, "Deployment": 1, "Pod": PODS}


async def test_steady_reconcile_parses_claim_and_autoscaler_once(parsed: Counter[str]) -> None:
    spec = {"cache": {"size": "1Gi"}, "autoscaling": {"minReplicas": 1, "maxReplicas": PODS}}
    scene = await steady_scene(**spec)
    parsed.clear()
    await scene.reconcile()

    children = {"Deployment": 1, "PersistentVolumeClaim": 1, "HorizontalPodAutoscaler": 1}
    assert parsed == {"VLLMServer": 1, **children, "Pod": PODS}


async def test_rate_limited_reconcile_parses_nothing(parsed: Counter[str]) -> None:
    scene = await steady_scene()
    for generation in range(2, BURST + 2):
        scene.set_spec(generation, replicas=PODS)
        parsed.clear()
        requeue = await scene.reconcile()

    assert requeue == Requeue.after(INTERVAL_SECONDS)
    assert not parsed
