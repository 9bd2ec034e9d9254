"""`source: keda`, and ScaledObjects of the user's own, with the real KEDA and a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.autoscaling.conftest import NAMESPACE, Scene
from tests.autoscaling.test_builtin import FAST_DOWN, TARGET
from tools.harness.keda import Prometheus, keda_and_prometheus
from tools.harness.kube import Object

WITHIN = 180.0


@pytest.fixture(scope="module")
def prometheus(scene: Scene) -> Iterator[Prometheus]:
    with keda_and_prometheus(scene.kube, scene.plane.folder, NAMESPACE) as found:
        scene.kube.reports.append(lambda: (scene.plane.folder / "keda.log").read_text()[-4000:])
        yield found


def scaling(address: str, **keda: object) -> Object:
    return {
        "source": "keda",
        "maxReplicas": 4,
        "targetRunningRequests": TARGET,
        "behavior": FAST_DOWN,
        "keda": {"serverAddress": address, "pollingIntervalSeconds": 5, **keda},
    }


def test_rendered_scaled_object_follows_the_load_and_pauses(scene: Scene, prometheus: Prometheus) -> None:
    scene.servers.create("keda", {"autoscaling": scaling(prometheus.url)})
    scene.becomes("keda", 1)
    scene.fleet.in_flight["keda"] = 2 * TARGET - 5
    scene.becomes("keda", 2, within=WITHIN)
    scene.active("keda", "True", "ScaledObjectReady")
    scene.servers.patch("keda", {"autoscaling": {"paused": True}})
    scene.active("keda", "False", "Paused")
    scene.fleet.in_flight["keda"] = 4 * TARGET - 5
    assert scene.highest("keda", 2, settle=45) == 2
    scene.servers.patch("keda", {"autoscaling": {"paused": False}})
    scene.becomes("keda", 4, within=WITHIN)


def test_scaled_object_of_the_users_own_scales_the_server(scene: Scene, prometheus: Prometheus) -> None:
    scene.servers.create("own")
    scene.becomes("own", 1)
    query = 'sum(vllm:num_requests_running{pod=~"own-.*"} + vllm:num_requests_waiting{pod=~"own-.*"})'
    metadata = {"serverAddress": prometheus.url, "query": query, "threshold": str(TARGET)}
    scene.kube.create(
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "metadata": {"name": "of-the-user"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "name": "own"},
                "minReplicaCount": 1,
                "maxReplicaCount": 4,
                "pollingInterval": 5,
                "triggers": [{"type": "prometheus", "metadata": metadata}],
            },
        },
        NAMESPACE,
    )
    scene.fleet.in_flight["own"] = 3 * TARGET - 5
    scene.becomes("own", 3, within=WITHIN)
    assert scene.servers.get("own")["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("name", "address", "word"), [("refused", "protected", "401"), ("untrusted", "private", "certificate")]
)
def test_failing_trigger_is_told_with_its_cause(
    scene: Scene, prometheus: Prometheus, name: str, address: str, word: str
) -> None:
    scene.servers.create(name, {"autoscaling": scaling(getattr(prometheus, address))})
    scene.becomes(name, 1)

    def is_told() -> None:
        found = scene.servers.condition(name, "AutoscalingActive")
        assert found["status"] == "False", found
        assert word in found["message"], found

    scene.kube.eventually(is_told, within=WITHIN, namespace=NAMESPACE)


def test_fallback_is_told_with_its_cause(scene: Scene, prometheus: Prometheus) -> None:
    fallback = {"failureThreshold": 2, "replicas": 2}
    scene.servers.create("fallback", {"autoscaling": scaling(prometheus.protected, fallback=fallback)})
    scene.becomes("fallback", 2, within=WITHIN)
    scene.active("fallback", "False", "Fallback", "keda.fallback", "401", within=WITHIN)
