from __future__ import annotations

import pytest

from tests.helpers.target_files import H100, object_of, render
from vllm_operator.targets.target import TargetError


def requirements(**fields: object) -> dict[str, list[str]]:
    pool = object_of(render("karpenter", **fields), "nodepool.yaml")
    return {item["key"]: item["values"] for item in pool["spec"]["template"]["spec"]["requirements"]}


def test_nodes_have_the_gpus_of_the_server() -> None:
    wanted = requirements(accelerator={"product": H100}, engine={"tensorParallelSize": 4})
    assert wanted["karpenter.k8s.aws/instance-gpu-name"] == ["h100"]
    assert wanted["karpenter.k8s.aws/instance-gpu-count"] == ["3"]
    assert "karpenter.k8s.aws/instance-gpu-memory" not in wanted


def test_both_a100_are_told_apart_by_their_memory() -> None:
    assert requirements(accelerator={"product": "NVIDIA-A100-SXM4-80GB"})["karpenter.k8s.aws/instance-gpu-memory"] == [
        "81919"
    ]


def test_the_pool_has_the_labels_that_the_pods_select() -> None:
    selector = {"team": "research", "topology.kubernetes.io/zone": "us-east-1a"}
    pool = object_of(
        render("karpenter", accelerator={"product": H100}, scheduling={"nodeSelector": selector}), "nodepool.yaml"
    )
    template = pool["spec"]["template"]
    assert template["metadata"]["labels"] == {"team": "research", "nvidia.com/gpu.product": H100}
    zones = [item for item in template["spec"]["requirements"] if item["key"] == "topology.kubernetes.io/zone"]
    assert zones[0]["values"] == ["us-east-1a"]


def test_limits_are_the_gpus_of_all_replicas() -> None:
    fields = {"accelerator": {"product": H100}, "autoscaling": {"maxReplicas": 5}, "engine": {"tensorParallelSize": 2}}
    assert object_of(render("karpenter", **fields), "nodepool.yaml")["spec"]["limits"] == {"nvidia.com/gpu": "10"}


def test_neuron_devices_are_amazons() -> None:
    wanted = requirements(accelerator={"resourceName": "aws.amazon.com/neuron"})
    assert wanted["karpenter.k8s.aws/instance-accelerator-manufacturer"] == ["aws"]


def test_bottlerocket_has_a_second_disk() -> None:
    result = render("karpenter", accelerator={"product": H100}, settings={"ami": "bottlerocket@latest"})
    node_class = object_of(result, "ec2nodeclass.yaml")
    assert node_class["spec"]["blockDeviceMappings"][0]["deviceName"] == "/dev/xvdb"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"accelerator": {"product": H100}, "engine": {"tensorParallelSize": 16}}, "16 GPUs of one replica"),
        ({"accelerator": {"product": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"}}, "no instance of EC2"),
        ({}, "spec.accelerator.product: it is unset"),
    ],
)
def test_what_ec2_does_not_have_is_refused(fields: dict, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        render("karpenter", **fields)
