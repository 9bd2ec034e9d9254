"""Whom a pass has asked, and how its status waits for answers."""

from __future__ import annotations

import base64

from tests.helpers.specs import container
from tests.unit.controller.reconciler.scene import KEY, Scene, frozen_scene, settled


async def test_running_replicas_are_asked_with_the_key_of_their_pod() -> None:
    key = {"security": {"apiKeySecretRef": {"name": "keys"}}}
    scene = Scene(health={"probeIntervalSeconds": 7}, **key)
    scene.api.hold({"kind": "Secret", "metadata": {"name": "keys"}, "data": {"token": base64.b64encode(b"k").decode()}})
    labels = {"app.kubernetes.io/instance": "mistral", "app.kubernetes.io/managed-by": "vllm-operator"}
    scene.store.put(
        "Pod",
        {
            "metadata": {"namespace": "llm", "name": "p", "uid": "p1", "resourceVersion": "1", "labels": labels},
            "spec": {"containers": [container(**key)]},
            "status": {"podIP": "10.0.0.7", "containerStatuses": [{"name": "vllm", "state": {"running": {}}}]},
        },
    )
    await scene.passes()
    (target,) = scene.prober.targets[KEY]

    assert (target.base_url, target.interval, target.api_key) == ("http://10.0.0.7:8000", 7, "k")
    assert (target.synthetic_completion, target.reported_stall) == ("WhenSuspicious", "")


async def test_server_settles_until_the_controllers_have_answered() -> None:
    scene = frozen_scene()
    assert not scene.reconciler.settles(KEY)
    await settled(scene)
    assert scene.reconciler.settles(KEY)
    await scene.passes()
    assert not scene.reconciler.settles(KEY)


async def test_status_waits_for_a_replica_that_is_being_asked() -> None:
    scene = frozen_scene()
    await settled(scene)
    scene.prober.delay = 3.0
    before = scene.server.get("status")
    await scene.passes(1)
    assert scene.server.get("status") == before
    scene.prober.delay = None
    await scene.passes(1)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")
