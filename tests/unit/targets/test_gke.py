from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.helpers.cloud_schemas import google_errors
from tests.helpers.target_files import H100, L4, lost, object_of, render, text_of
from vllm_operator.offline.judgement import judge
from vllm_operator.offline.manifest_file import read_documents
from vllm_operator.targets.clouds import GPUS
from vllm_operator.targets.target import TargetError

PRODUCTS = {
    "Tesla-T4": "T4",
    L4: "L4",
    "NVIDIA-A100-SXM4-40GB": "a2",
    "NVIDIA-A100-SXM4-80GB": "a2-ultra",
    H100: "a3",
    "NVIDIA-H200": "a3-ultra",
    "NVIDIA-B200": "a4",
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": "g4",
}


def accepted(text: str) -> dict:
    (document,) = read_documents(text)
    assert judge(document).problems == ()
    return document.body


@pytest.mark.parametrize("product", PRODUCTS, ids=PRODUCTS.values())
def test_googles_discovery_document_has_the_node_pool(product: str) -> None:
    result = render("gke", accelerator={"product": product}, autoscaling={"maxReplicas": 4}, settings={"spot": "yes"})
    assert google_errors("container.v1", "CreateNodePoolRequest", object_of(result, "node-pool.json")) == []


@pytest.mark.parametrize("target", ["gke", "gke-autopilot"])
@pytest.mark.parametrize("product", PRODUCTS, ids=PRODUCTS.values())
def test_the_server_for_gke_is_accepted_and_selects_googles_label(target: str, product: str) -> None:
    result = render(target, accelerator={"product": product}, scheduling={"nodeSelector": {"a": "b"}})
    spec = accepted(text_of(result, "vllmserver.yaml"))["spec"]
    gpu = next(
        item for item in GPUS if item.gke == spec["scheduling"]["nodeSelector"]["cloud.google.com/gke-accelerator"]
    )
    assert gpu.gke
    assert spec["scheduling"]["nodeSelector"]["a"] == "b"
    assert "accelerator" not in spec
    assert "spec.accelerator.product" in lost(result)


def test_nodes_are_counted_by_their_gpus() -> None:
    pool = object_of(render("gke", accelerator={"product": H100}, replicas=9), "node-pool.json")["nodePool"]
    assert (pool["config"]["machineType"], pool["autoscaling"]["totalMaxNodeCount"]) == ("a3-highgpu-1g", 9)
    fields = {"accelerator": {"product": "NVIDIA-B200"}, "engine": {"tensorParallelSize": 4}, "replicas": 3}
    pool = object_of(render("gke", **fields), "node-pool.json")["nodePool"]
    assert (pool["config"]["machineType"], pool["autoscaling"]["totalMinNodeCount"]) == ("a4-highgpu-8g", 2)
    assert pool["config"]["diskType"] == "hyperdisk-balanced"


def test_the_command_says_the_same_as_the_body() -> None:
    result = render("gke", accelerator={"product": L4}, settings={"cluster": "prod", "location": "europe-west4-a"})
    script = text_of(result, "create-node-pool.sh")
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    command = shlex.split(script.partition("set -eu\n")[2].replace("\\\n", " "))
    options = dict(item.split("=", 1) for item in command if item.startswith("--") and "=" in item)
    config = object_of(result, "node-pool.json")["nodePool"]["config"]
    assert options["--machine-type"] == config["machineType"]
    assert options["--accelerator"] == "type=nvidia-l4,count=1,gpu-driver-version=latest"
    assert (options["--cluster"], options["--location"]) == ("prod", "europe-west4-a")


def test_autopilot_gets_requests_and_the_number_of_gpus() -> None:
    result = render("gke-autopilot", accelerator={"product": H100}, engine={"tensorParallelSize": 4})
    spec = accepted(text_of(result, "vllmserver.yaml"))["spec"]
    assert spec["resources"]["requests"] == {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "100Gi"}
    assert spec["scheduling"]["nodeSelector"]["cloud.google.com/gke-accelerator-count"] == "4"


def test_requests_of_the_user_stay() -> None:
    fields = {"accelerator": {"product": L4}, "resources": {"requests": {"cpu": 2}, "limits": {"memory": "20Gi"}}}
    spec = accepted(text_of(render("gke-autopilot", **fields), "vllmserver.yaml"))["spec"]
    assert spec["resources"]["requests"] == {"cpu": 2, "ephemeral-storage": "100Gi"}


def test_a_server_on_cpus_gets_a_compute_class() -> None:
    spec = accepted(text_of(render("gke-autopilot", accelerator={"resourceName": ""}), "vllmserver.yaml"))["spec"]
    assert spec["scheduling"]["nodeSelector"] == {"cloud.google.com/compute-class": "Performance"}


@pytest.mark.parametrize("target", ["gke", "gke-autopilot"])
def test_gpus_that_google_does_not_have_are_refused(target: str) -> None:
    with pytest.raises(TargetError, match="GKE has no L40S"):
        render(target, accelerator={"product": "NVIDIA-L40S"})


def test_autopilot_refuses_host_paths() -> None:
    with pytest.raises(TargetError, match="Autopilot refuses hostPath"):
        render("gke-autopilot", accelerator={"product": L4}, cache={"volume": {"hostPath": {"path": "/m"}}})
