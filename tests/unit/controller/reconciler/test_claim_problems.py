"""A live claim that cannot be changed as the spec asks refuses the server for as long as it exists."""

from __future__ import annotations

from tests.unit.controller.reconciler.scene import KEY, Scene


async def test_claim_for_one_pod_refuses_several_replicas_until_it_is_deleted() -> None:
    scene = Scene(cache={"size": "1Gi"})
    await scene.reconciler.reconcile(KEY)
    scene.set_spec(2, cache={"size": "1Gi"}, replicas=2)
    before = len(scene.api.requests)
    await scene.reconciler.reconcile(KEY)
    accepted = next(entry for entry in scene.server["status"]["conditions"] if entry["type"] == "Accepted")

    assert accepted["reason"] == "CacheNotShareable"
    assert [verb for verb, kind, _ in scene.api.requests[before:] if kind == "Deployment"] == []

    scene.store.remove("PersistentVolumeClaim", scene.api.objects.pop(("PersistentVolumeClaim", "mistral-cache")))
    await scene.reconciler.reconcile(KEY)

    assert scene.api.objects["PersistentVolumeClaim", "mistral-cache"]["spec"]["accessModes"] == ["ReadWriteMany"]
