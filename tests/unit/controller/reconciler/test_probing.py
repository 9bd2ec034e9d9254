"""Probe targets of a reconcile, and statuses that wait for probe results."""

from __future__ import annotations

import base64

from tests.helpers.pods import pod
from tests.helpers.specs import container
from tests.unit.controller.reconciler.scene import KEY, Scene, settle, stalled_scene


async def test_running_replicas_are_probed_with_the_api_key_of_their_pod() -> None:
    key = {"security": {"apiKeySecretRef": {"name": "keys"}}}
    scene = Scene(health={"probeIntervalSeconds": 7}, **key)
    scene.api.hold({"kind": "Secret", "metadata": {"name": "keys"}, "data": {"token": base64.b64encode(b"k").decode()}})
    metadata = {**pod("p")["metadata"], "namespace": "llm", "resourceVersion": "1"}
    scene.store.put(
        "Pod",
        {
            "metadata": metadata,
            "spec": {"containers": [container(**key)]},
            "status": {"podIP": "10.0.0.7", "containerStatuses": [{"name": "vllm", "state": {"running": {}}}]},
        },
    )
    await scene.reconcile()
    (target,) = scene.probes.targets[KEY]

    assert (target.base_url, target.interval, target.api_key) == ("http://10.0.0.7:8000", 7, "k")
    assert (target.synthetic_completion, target.reported_stall) == ("WhenSuspicious", "")


async def test_server_settles_until_the_controllers_have_reacted() -> None:
    scene = stalled_scene()
    assert not scene.servers.is_settling(KEY)
    await settle(scene)
    assert scene.servers.is_settling(KEY)
    await scene.reconcile()
    assert not scene.servers.is_settling(KEY)


async def test_status_waits_for_a_probe_that_is_under_way() -> None:
    scene = stalled_scene()
    await settle(scene)
    scene.probes.delay = 3.0
    before = scene.server.get("status")
    await scene.reconcile(1)
    assert scene.server.get("status") == before
    scene.probes.delay = None
    await scene.reconcile(1)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")
