"""The operator's own metrics of a real vLLM, and a HorizontalPodAutoscaler that reads them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import pods, wait_ready
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Object, condition

CLIENTS = 8
WITHIN = 90.0
FAST_DOWN = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
SCALING: dict[str, Any] = {"maxReplicas": 2, "targetRunningRequests": 1, "behavior": {"scaleDown": FAST_DOWN}}


@contextlib.contextmanager
def load(inside: InCluster, server: str) -> Iterator[None]:
    """Keep eight clients with requests of 400 tokens busy until the end of the block."""
    stopped = threading.Event()
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 400, "ignore_eos": True}

    def ask() -> None:
        while not stopped.is_set():
            # One call that fails must not end the load.
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                inside.call(f"{inside.url(server)}/v1/completions", body, "key-of-the-tests")
            stopped.wait(0.05)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join(90)


@pytest.fixture
def scaled(inside: InCluster, gated: str) -> Iterator[str]:
    """The server, while its spec asks for an autoscaler."""
    wait_ready(inside, gated)
    inside.kube.patch(KIND, gated, inside.namespace, {"spec": {"autoscaling": SCALING}})
    try:
        yield gated
    finally:
        inside.kube.patch(KIND, gated, inside.namespace, {"spec": {"autoscaling": None, "replicas": 1}})
        wait_ready(inside, gated)
        # The tests after this one expect the one replica; the other may still load or drain.
        inside.kube.eventually(lambda: len(all_pods(inside, gated)) == 1, within=150, namespace=inside.namespace)


def all_pods(inside: InCluster, server: str) -> list[Object]:
    """The pods of a server, those on their way out too."""
    return inside.kube.list("Pod", inside.namespace, f"app.kubernetes.io/instance={server}")


def test_autoscaler_reads_the_load_of_a_real_vllm_and_follows_it(inside: InCluster, scaled: str) -> None:
    kube, namespace = inside.kube, inside.namespace
    path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}"
    of_server = f"{path}/vllmservers.vllm-operator.dev/{scaled}/vllm_num_requests"
    of_pods = f"{path}/pods/*/vllm_num_requests?labelSelector=app.kubernetes.io%2Finstance%3D{scaled}"
    [pod] = pods(inside, scaled)

    def values(query: str) -> list[Any]:
        found: list[Any] = json.loads(kube.kubectl("get", "--raw", query).stdout)["items"]
        return found

    def wanted() -> int:
        return int(kube.must_get("Deployment", scaled, namespace)["spec"]["replicas"])

    def is_busy() -> None:
        [one] = values(of_pods)
        assert one["describedObject"]["name"] == pod["metadata"]["name"]
        [total] = values(of_server)
        assert int(one["value"]) > 1
        assert int(total["value"]) > 1

    with load(inside, scaled):
        kube.eventually(is_busy, within=WITHIN)
        kube.eventually(lambda: wanted() == 2, within=WITHIN, namespace=namespace)
        active = condition(kube.must_get(KIND, scaled, namespace), "AutoscalingActive")
        assert active["status"] == "True", active
    kube.eventually(lambda: wanted() == 1, within=WITHIN, namespace=namespace)
