from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.helpers.paths import REPOSITORY
from tests.helpers.target_files import H100, object_of, render
from vllm_operator.offline.structural_schema import schema_refusals, unknown_fields, with_defaults
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


@cache
def crd_schemas() -> dict[str, dict]:
    """Kind -> the schema of version v1 in Karpenter's own CRDs."""
    if shutil.which("go") is None:
        pytest.skip("the CRDs come from a Go module, and Go is not installed")
    command = [sys.executable, "-m", "tools.localcluster", "crds", "karpenter"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    found = {}
    for name in ("karpenter.sh_nodepools", "karpenter.k8s.aws_ec2nodeclasses"):
        crd = yaml.safe_load((Path(done.stdout.strip()) / f"{name}.yaml").read_text())
        version = next(item for item in crd["spec"]["versions"] if item["name"] == "v1")
        schema = version["schema"]["openAPIV3Schema"]
        found[crd["spec"]["names"]["kind"]] = {**schema, "properties": {**schema["properties"], "metadata": {}}}
    return found


CASES = {
    "h100": {"accelerator": {"product": H100}, "engine": {"tensorParallelSize": 4}},
    "cpu": {"accelerator": {"resourceName": ""}},
    "neuron": {"accelerator": {"resourceName": "aws.amazon.com/neuron"}},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
@pytest.mark.parametrize("path", ["nodepool.yaml", "ec2nodeclass.yaml"])
def test_karpenters_schemas_have_every_field(fields: dict, path: str) -> None:
    body = object_of(render("karpenter", **fields), path)
    schema = crd_schemas()[body["kind"]]
    assert list(unknown_fields(body, schema)) == []
    assert list(schema_refusals(with_defaults(body, schema), schema)) == []


def test_karpenter_knows_every_label_of_a_requirement() -> None:
    """Its CRD lists the labels of its own domains that a requirement may have, in a CEL rule."""
    rules = str(crd_schemas()["NodePool"])
    for fields in CASES.values():
        for key in requirements(**fields):
            assert not key.startswith("karpenter.") or f'"{key}"' in rules, key
