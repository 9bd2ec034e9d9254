"""A server with many pods: its reconcile lets others through, and assesses a pod again only when it changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.helpers.pods import scheduling_pod
from tests.unit.controller.reconciler.scene import Scene
from vllm_operator.api.names import selector_labels
from vllm_operator.kube import slices
from vllm_operator.status.replicas import replica

PODS = 300


def pending_pod(number: int) -> dict[str, Any]:
    """Return a pod of the Deployment that has no node."""
    body = scheduling_pod(f"mistral-5f9c6d7b8-{number:05}")
    body["metadata"] |= {
        "namespace": "llm",
        "uid": f"uid-{number}",
        "resourceVersion": "1",
        "labels": {
            **selector_labels("mistral"),
            "app.kubernetes.io/managed-by": "vllm-operator",
            "pod-template-hash": "5f9c6d7b8",
        },
        "ownerReferences": [{"kind": "ReplicaSet", "name": "mistral-5f9c6d7b8", "controller": True}],
    }
    return {"kind": "Pod", **body}


def many_pods() -> Scene:
    """Return a server with PODS pods."""
    scene = Scene(replicas=PODS)
    for number in range(PODS):
        scene.store.put("Pod", scene.api.hold(pending_pod(number)))
    return scene


async def test_long_reconcile_lets_others_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices.in_slices, "__defaults__", (lambda: 0.0, 0.0))  # each item ends a slice
    scene, turns = many_pods(), 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    await scene.reconcile()
    task.cancel()
    assert turns > 3 * PODS


async def test_pod_that_did_not_change_is_not_assessed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = many_pods()
    await scene.reconcile(3)
    assessed: list[str] = []
    read_pod = replica.read_pod

    def count(body: Any, *arguments: Any) -> Any:
        assessed.append(body["metadata"]["name"])
        return read_pod(body, *arguments)

    monkeypatch.setattr(replica, "read_pod", count)
    await scene.reconcile()
    assert assessed == []
    changed = pending_pod(7)
    changed["status"]["conditions"][0]["message"] = "0/4 nodes are available: 4 node(s) had untolerated taints."
    scene.store.put("Pod", scene.api.hold(changed))
    await scene.reconcile()
    assert assessed == ["mistral-5f9c6d7b8-00007"]
