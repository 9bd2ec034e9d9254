"""`autoscaling.fastPath` with the real controller of HorizontalPodAutoscalers."""

from __future__ import annotations

import time

from tests.autoscaling.conftest import NAMESPACE, WITHIN, Scene
from tools.harness.kube import Object
from vllm_operator.controller.floor import ANNOTATION_RAISED

TARGET = 50
FAST = {"maxReplicas": 8, "targetRunningRequests": TARGET, "fastPath": True}


def autoscaler(scene: Scene, name: str) -> Object:
    return scene.kube.must_get("HorizontalPodAutoscaler", name, NAMESPACE)


def raised_at(scene: Scene, name: str) -> str | None:
    annotations: Object = autoscaler(scene, name)["metadata"].get("annotations") or {}
    return annotations.get(ANNOTATION_RAISED)


def test_queue_raises_the_floor_at_once_and_the_autoscaler_takes_over(scene: Scene) -> None:
    scene.servers.create("spike", {"autoscaling": FAST})
    scene.becomes("spike", 1)
    scene.active("spike", "True", "ValidMetricFound")
    began = time.monotonic()
    scene.fleet.in_flight["spike"] = 4 * TARGET - 5

    def has_all() -> None:
        assert scene.wanted("spike") == 4

    scene.kube.eventually(has_all, within=WITHIN)
    print(f"4 replicas were wanted after {time.monotonic() - began:.2f} s")
    assert autoscaler(scene, "spike")["spec"]["minReplicas"] == 4
    scene.active("spike", "True", "ValidMetricFound", "fastPath keeps at least 4 replicas", "195 requests")
    assert scene.servers.get("spike")["status"]["autoscaling"]["raisedMinReplicas"] == 4
    assert scene.highest("spike", 4, settle=15) <= 5

    def is_given_back() -> None:
        assert autoscaler(scene, "spike")["spec"]["minReplicas"] == 1
        assert raised_at(scene, "spike") is None
        assert "raisedMinReplicas" not in scene.servers.get("spike")["status"]["autoscaling"]

    scene.kube.eventually(is_given_back, within=WITHIN)
    assert scene.highest("spike", 4, settle=20) == 4
    assert scene.wanted("spike") == 4, "the autoscaler asks for as many by itself"


def test_floor_that_a_dead_operator_raised_is_given_back(scene: Scene) -> None:
    scene.servers.create("orphan", {"autoscaling": FAST})
    scene.becomes("orphan", 1)
    scene.fleet.in_flight["orphan"] = 3 * TARGET - 5
    scene.kube.eventually(lambda: raised_at(scene, "orphan") is not None, within=WITHIN)
    scene.process.kill()
    assert autoscaler(scene, "orphan")["spec"]["minReplicas"] == 3
    scene.process.start()
    scene.process.wait_ready()

    def is_given_back() -> None:
        assert autoscaler(scene, "orphan")["spec"]["minReplicas"] == 1
        assert raised_at(scene, "orphan") is None

    scene.kube.eventually(is_given_back, within=WITHIN)
    assert scene.wanted("orphan") == 3


def test_operator_that_scales_by_itself_takes_the_fast_path_too(scene: Scene) -> None:
    scene.servers.create("itself", {"autoscaling": {**FAST, "source": "operator"}})
    scene.becomes("itself", 1)
    began = time.monotonic()
    scene.fleet.in_flight["itself"] = 4 * TARGET - 5
    scene.kube.eventually(lambda: scene.wanted("itself") == 4, within=WITHIN)
    print(f"4 replicas were wanted after {time.monotonic() - began:.2f} s")
    assert scene.highest("itself", 4, settle=10) <= 5
