"""`source: builtin` with the real controller of HorizontalPodAutoscalers."""

from __future__ import annotations

import json
import time
from datetime import datetime

from tests.autoscaling.conftest import NAMESPACE, WITHIN, Scene
from tools.harness.kube import Object

API = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}"
FAST_DOWN: Object = {
    "scaleDown": {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }
}
TARGET = 50


def read(scene: Scene, path: str) -> list[Object]:
    items: list[Object] = json.loads(scene.kube.kubectl("get", "--raw", f"{API}/{path}").stdout)["items"]
    return items


def test_kubectl_reads_the_load_of_pods_and_of_the_server(scene: Scene) -> None:
    scene.servers.create("raw", {"replicas": 2})
    scene.servers.create("other")
    scene.becomes("raw", 2)
    scene.becomes("other", 1)
    scene.fleet.in_flight.update(raw=600, other=1)
    time.sleep(1.5)  # no sample from before is used again
    pods = {item["describedObject"]["name"]: item for item in read(scene, "pods/*/vllm_num_requests?labelSelector="
            "app.kubernetes.io%2Finstance%3Draw")}  # fmt: skip
    assert set(pods) == set(scene.ready("raw"))
    assert {item["value"] for item in pods.values()} == {"300"}
    values = {
        metric: read(scene, f"vllmservers.vllm-operator.dev/raw/{metric}")[0]["value"]
        for metric in ("vllm_num_requests_running", "vllm_num_requests_waiting", "vllm_num_requests")
    }
    assert values == {
        "vllm_num_requests_running": "512",
        "vllm_num_requests_waiting": "88",
        "vllm_num_requests": "600",
    }
    [usage] = read(scene, "vllmservers.vllm-operator.dev/raw/vllm_kv_cache_usage")
    assert usage["value"] == "1"
    before = time.time()
    [item] = read(scene, "vllmservers.vllm-operator.dev/raw/vllm_num_requests")
    stamp = datetime.fromisoformat(item["timestamp"]).timestamp()
    assert before - 2 <= stamp <= time.time() + 0.001


def test_silent_replica_is_left_out(scene: Scene) -> None:
    scene.servers.create("partly", {"replicas": 2})
    scene.becomes("partly", 2)
    scene.fleet.in_flight["partly"] = 20
    silent, talking = scene.ready("partly")
    scene.fleet.replicas[silent].is_silent = True

    def is_left_out() -> None:
        selector = "labelSelector=app.kubernetes.io%2Finstance%3Dpartly"
        found = read(scene, f"pods/*/vllm_num_requests?{selector}")
        assert [item["describedObject"]["name"] for item in found] == [talking]
        [server] = read(scene, "vllmservers.vllm-operator.dev/partly/vllm_num_requests")
        assert server["value"] == "20"

    scene.kube.eventually(is_left_out, within=WITHIN)


def test_default_autoscaler_follows_the_load_up_and_down(scene: Scene) -> None:
    scaling = {"maxReplicas": 6, "targetRunningRequests": TARGET, "behavior": FAST_DOWN}
    scene.servers.create("waves", {"autoscaling": scaling})
    scene.becomes("waves", 1)
    scene.active("waves", "True", "ValidMetricFound")
    scene.fleet.in_flight["waves"] = 3 * TARGET - 5
    assert scene.highest("waves", 3, settle=32) <= 4
    scene.becomes("waves", 3)
    scene.fleet.in_flight["waves"] = 5
    scene.becomes("waves", 1)


def test_slow_starts_do_not_overshoot_under_the_default_behavior(scene: Scene) -> None:
    scene.servers.create("step", {"autoscaling": {"maxReplicas": 10, "targetRunningRequests": TARGET}})
    scene.becomes("step", 1)
    scene.fleet.start_seconds = 40.0
    try:
        scene.fleet.in_flight["step"] = 5 * TARGET - 5
        most = scene.highest("step", 5, settle=32)
    finally:
        scene.fleet.start_seconds = 12.0
    assert 5 <= most <= 6
    assert scene.wanted("step") in {5, 6}


def test_autoscaler_of_the_users_own_on_an_object_metric_scales_the_server(scene: Scene) -> None:
    scene.servers.create("mine")
    scene.becomes("mine", 1)
    target = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "name": "mine"}
    value = {"type": "AverageValue", "averageValue": str(TARGET)}
    metric = {"describedObject": target, "metric": {"name": "vllm_num_requests"}, "target": value}
    scene.kube.create(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "my-own"},
            "spec": {
                "scaleTargetRef": target,
                "minReplicas": 1,
                "maxReplicas": 4,
                "metrics": [{"type": "Object", "object": metric}],
            },
        },
        NAMESPACE,
    )
    scene.fleet.in_flight["mine"] = 2 * TARGET - 5
    scene.becomes("mine", 2)


def test_another_adapter_keeps_the_api_and_is_named(scene: Scene) -> None:
    scene.servers.create("aside", {"autoscaling": {"maxReplicas": 2}})
    scene.becomes("aside", 1)
    names = ("v1beta2.custom.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io")
    service = {"namespace": "monitoring", "name": "prometheus-adapter", "port": 443}
    theirs = {"spec": {"service": service, "caBundle": None, "insecureSkipTLSVerify": True}}
    try:
        for name in names:
            scene.kube.patch("APIService", name, None, theirs)
        scene.active(
            "aside", "False", "OtherMetricsAdapter", "monitoring/prometheus-adapter", "kubectl delete apiservice"
        )
        kept = [scene.kube.must_get("APIService", name)["spec"]["service"] for name in names]
        assert [(one["namespace"], one["name"]) for one in kept] == [("monitoring", "prometheus-adapter")] * 2
    finally:
        for name in names:
            scene.kube.delete("APIService", name)
    scene.active("aside", "True", "ValidMetricFound", within=2 * WITHIN)
    assert scene.kube.must_get("APIService", names[0])["spec"]["service"]["namespace"] == "vllm-operator-system"
