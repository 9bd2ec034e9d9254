from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import fake_api_server, status_object
from vllm_operator.api.crd import crd
from vllm_operator.cli.checks import cluster as checks
from vllm_operator.cli.checks.item import CheckResult
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.options import ClusterOptions
from vllm_operator.kube.kinds import DEPLOYMENT

CRD_PATH = checks.CRD.path(None, "vllmservers.vllm-operator.dev")
FORBIDDEN = (403, status_object(403, "Forbidden", "no"))
Answers = dict[str, tuple[int, Any]]


def results(folder: Path, answers: Answers) -> dict[str, CheckResult]:
    base: Answers = {
        "GET /apis": (200, {"groups": []}),
        f"GET {checks.NODE.path()}": (200, {"items": []}),
        f"GET {checks.STORAGE_CLASS.path()}": (200, {"items": []}),
        f"GET {DEPLOYMENT.path()}": (200, {"items": []}),
        f"POST {checks.REVIEWS}": (201, {"status": {"allowed": True}}),
    }
    with fake_api_server({**base, **answers}, folder) as (_, path):
        items = checks.cluster_items(Cluster(ClusterOptions(kubeconfig=path)))
    return {item.identity: item.result for item in items}


def established() -> dict[str, Any]:
    return {**crd(), "status": {"conditions": [{"type": "Established", "status": "True"}]}}


def test_missing_unestablished_and_old_crds_are_found(tmp_path: Path) -> None:
    assert results(tmp_path, {})["crd"].level == "fail"
    assert results(tmp_path, {f"GET {CRD_PATH}": (200, crd())})["crd"].level == "fail"
    assert results(tmp_path, {f"GET {CRD_PATH}": (200, established())})["crd"].level == "pass"
    old = copy.deepcopy(established())
    schema = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del schema["cache"]
    result = results(tmp_path, {f"GET {CRD_PATH}": (200, old)})["crd"]
    assert (result.level, "spec.cache" in result.evidence) == ("warn", True)


def test_operator_is_judged(tmp_path: Path) -> None:
    assert results(tmp_path, {})["operator"].level == "unknown"
    body = {"metadata": {"name": "o", "namespace": "n"}, "spec": {"replicas": 1}, "status": {"availableReplicas": 1}}
    assert results(tmp_path, {f"GET {DEPLOYMENT.path()}": (200, {"items": [body]})})["operator"].level == "pass"
    body["status"] = {}
    assert results(tmp_path, {f"GET {DEPLOYMENT.path()}": (200, {"items": [body]})})["operator"].level == "fail"


def test_metrics_api_of_the_autoscaler_is_needed(tmp_path: Path) -> None:
    assert results(tmp_path, {})["metrics-api"].level == "warn"
    groups = {"groups": [{"name": "metrics.k8s.io"}, {"name": "custom.metrics.k8s.io"}]}
    assert results(tmp_path, {"GET /apis": (200, groups)})["metrics-api"].level == "pass"


def test_kinds_of_monitoring_are_looked_up(tmp_path: Path) -> None:
    assert results(tmp_path, {})["monitoring-crds"].level == "warn"
    resources = {"resources": [{"kind": "PodMonitor"}, {"kind": "PrometheusRule"}]}
    answers: Answers = {"GET /apis/monitoring.coreos.com/v1": (200, resources)}
    assert results(tmp_path, answers)["monitoring-crds"].level == "pass"


def node(name: str, labels: dict[str, str] | None = None, **allocatable: str) -> dict[str, Any]:
    offered = {key.replace("__", "/").replace("_", "."): value for key, value in allocatable.items()}
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"allocatable": offered}}


def test_devices_of_the_nodes_are_listed(tmp_path: Path) -> None:
    assert results(tmp_path, {})["devices"].level == "warn"
    nodes = [
        node("a", {"nvidia.com/gpu.product": "H100"}, cpu="8", nvidia_com__gpu="8"),
        node("b", nvidia_com__gpu="0", hugepages__x="1"),
        node("c", google_com__tpu="4"),
    ]
    result = results(tmp_path, {f"GET {checks.NODE.path()}": (200, {"items": nodes})})["devices"]
    assert result.level == "pass"
    assert "2 of 3 nodes offer: 4 google.com/tpu, 8 nvidia.com/gpu (H100)" in result.evidence


def test_largest_node_is_found(tmp_path: Path) -> None:
    answers: Answers = {f"GET {checks.NODE.path()}": (200, {"items": [node("a", nvidia_com__gpu="8"), node("b")]})}
    with fake_api_server(answers, tmp_path) as (_, path):
        assert checks.largest_node(Cluster(ClusterOptions(kubeconfig=path)), "nvidia.com/gpu") == 8
    with fake_api_server({f"GET {checks.NODE.path()}": FORBIDDEN}, tmp_path) as (_, path):
        assert checks.largest_node(Cluster(ClusterOptions(kubeconfig=path)), "nvidia.com/gpu") is None


def test_default_storage_class_is_looked_for(tmp_path: Path) -> None:
    assert results(tmp_path, {})["storage"].level == "warn"
    body = {"metadata": {"name": "fast"}, "provisioner": "p"}
    answers: Answers = {f"GET {checks.STORAGE_CLASS.path()}": (200, {"items": [body]})}
    assert results(tmp_path, answers)["storage"].level == "warn"
    body["metadata"] = {"name": "fast", "annotations": {checks.DEFAULT_CLASS: "true"}}
    assert results(tmp_path, answers)["storage"].level == "pass"


def test_missing_rights_name_the_commands(tmp_path: Path) -> None:
    assert results(tmp_path, {})["rights"].level == "pass"
    denied: Answers = {f"POST {checks.REVIEWS}": (201, {"status": {"allowed": False}})}
    result = results(tmp_path, denied)["rights"]
    assert result.level == "warn"
    assert "create pods/portforward (chat, complete, bench)" in result.evidence


@pytest.mark.parametrize(
    ("identity", "path"), [("devices", checks.NODE.path()), ("storage", checks.STORAGE_CLASS.path())]
)
def test_item_without_the_right_is_unknown(identity: str, path: str, tmp_path: Path) -> None:
    assert results(tmp_path, {f"GET {path}": FORBIDDEN})[identity].level == "unknown"
