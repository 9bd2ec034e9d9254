from __future__ import annotations

import pytest

from tests.helpers.cloud_schemas import _model
from tests.helpers.specs import body
from tests.helpers.target_files import order_of
from vllm_operator.targets.clouds import GPUS, gpu_of, smallest
from vllm_operator.targets.replica import read_replica
from vllm_operator.targets.target import TargetError

REPLICA = read_replica(order_of(body()))


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100 80 GB"),
        ("NVIDIA-A100-SXM4-80GB", "A100 80 GB"),
        ("NVIDIA-A100-80GB-PCIe", "A100 80 GB"),
        ("NVIDIA-A100-SXM4-40GB", "A100 40 GB"),
        ("NVIDIA-L4", "L4"),
        ("NVIDIA-L40S", "L40S"),
        ("Tesla-T4", "T4"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTX PRO 6000"),
    ],
)
def test_labels_of_the_feature_discovery_name_one_gpu(product: str, name: str) -> None:
    found = gpu_of(REPLICA, product)
    assert found is not None
    assert found.name == name


def test_every_instance_type_is_one_of_sagemakers() -> None:
    known = _model("sagemaker").shape_for("ProductionVariantInstanceType").enum
    assert {name for gpu in GPUS for name in gpu.sagemaker.values()} <= set(known)


def test_the_smallest_machine_with_enough_gpus_is_chosen() -> None:
    gpu = gpu_of(REPLICA, "NVIDIA-L4")
    assert gpu
    assert smallest(gpu.gke_machines, gpu, 3, "GKE") == (4, "g2-standard-48")
    with pytest.raises(TargetError, match="no machine of GKE has 16 L4: at most 8"):
        smallest(gpu.gke_machines, gpu, 16, "GKE")
    with pytest.raises(TargetError, match="Mars has no L4"):
        smallest({}, gpu, 1, "Mars")


@pytest.mark.parametrize(
    ("accelerator", "product", "words"),
    [
        ({}, None, "spec.accelerator.product: it is unset"),
        ({}, "NVIDIA-XYZ", "NVIDIA-XYZ is no GPU that is known here"),
        ({"resourceName": "amd.com/gpu"}, "x", "only whole NVIDIA GPUs, and the server asks for amd.com/gpu"),
    ],
)
def test_other_gpus_are_refused_with_a_way_out(accelerator: dict, product: str | None, words: str) -> None:
    replica = read_replica(order_of(body(accelerator=accelerator)))
    with pytest.raises(TargetError, match=words):
        gpu_of(replica, product)


def test_a_server_on_cpus_has_no_gpu() -> None:
    assert gpu_of(read_replica(order_of(body(accelerator={"resourceName": ""}))), None) is None
