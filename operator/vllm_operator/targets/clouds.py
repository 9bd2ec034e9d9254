"""NVIDIA's GPUs in the clouds: their names in Karpenter, GKE, SageMaker and Cloud Run, and the machines that have them.

Sources, read in November 2026: `ec2 describe-instance-types` as Karpenter's page "Instance Types" shows it,
https://docs.cloud.google.com/compute/docs/gpus and https://docs.cloud.google.com/kubernetes-engine/docs/concepts/gpus,
the enum ProductionVariantInstanceType of SageMaker's API, and
https://docs.cloud.google.com/run/docs/configuring/services/gpu.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vllm_operator.targets.replica import RenderedReplica
from vllm_operator.targets.target import TargetError


@dataclass(frozen=True)
class CloudGpu:
    """One GPU model.

    Attributes:
        name: short name for messages.
        product: regular expression over the node label nvidia.com/gpu.product.
        memory_mib: memory of one GPU in MiB, as EC2 counts it.
        karpenter: value of karpenter.k8s.aws/instance-gpu-name; empty when AWS has none.
        gke: value of cloud.google.com/gke-accelerator; empty when GKE has none.
        gke_machines: number of GPUs -> machine type.
        gke_attached: the GPUs are attached to a general machine type, which GKE must be asked for by count.
        sagemaker: number of GPUs -> instance type.
        cloud_run: value of run.googleapis.com/accelerator; empty when Cloud Run has none.
    """

    name: str
    product: str
    memory_mib: int
    karpenter: str = ""
    gke: str = ""
    gke_machines: Mapping[int, str] = field(default_factory=dict)
    gke_attached: bool = False
    sagemaker: Mapping[int, str] = field(default_factory=dict)
    cloud_run: str = ""


def _machines(family: str, *counts: int) -> dict[int, str]:
    return {count: f"{family}-{count}g" for count in counts}


GPUS: tuple[CloudGpu, ...] = (
    CloudGpu(
        "T4",
        r"Tesla-T4|NVIDIA-T4",
        16384,
        karpenter="t4",
        gke="nvidia-tesla-t4",
        gke_machines={1: "n1-standard-8", 2: "n1-standard-16", 4: "n1-standard-32"},
        gke_attached=True,
        sagemaker={1: "ml.g4dn.2xlarge", 4: "ml.g4dn.12xlarge"},
    ),
    CloudGpu(
        "A10G",
        r"NVIDIA-A10G",
        22888,
        karpenter="a10g",
        sagemaker={1: "ml.g5.2xlarge", 4: "ml.g5.12xlarge", 8: "ml.g5.48xlarge"},
    ),
    CloudGpu(
        "L4",
        r"NVIDIA-L4",
        22888,
        karpenter="l4",
        gke="nvidia-l4",
        gke_machines={1: "g2-standard-12", 2: "g2-standard-24", 4: "g2-standard-48", 8: "g2-standard-96"},
        sagemaker={1: "ml.g6.2xlarge", 4: "ml.g6.12xlarge", 8: "ml.g6.48xlarge"},
        cloud_run="nvidia-l4",
    ),
    CloudGpu(
        "L40S",
        r"NVIDIA-L40S",
        45776,
        karpenter="l40s",
        sagemaker={1: "ml.g6e.2xlarge", 4: "ml.g6e.12xlarge", 8: "ml.g6e.48xlarge"},
    ),
    CloudGpu(
        "A100 40 GB",
        r"(NVIDIA-)?A100-(SXM4|PCIE)-40GB",
        40960,
        karpenter="a100",
        gke="nvidia-tesla-a100",
        gke_machines=_machines("a2-highgpu", 1, 2, 4, 8),
        sagemaker={8: "ml.p4d.24xlarge"},
    ),
    CloudGpu(
        "A100 80 GB",
        r"(NVIDIA-)?A100[-A-Z0-9]*-80GB[-A-Z]*|NVIDIA-A100-80GB-PCIe",
        81920,
        karpenter="a100",
        gke="nvidia-a100-80gb",
        gke_machines=_machines("a2-ultragpu", 1, 2, 4, 8),
        sagemaker={8: "ml.p4de.24xlarge"},
    ),
    CloudGpu(
        "H100 80 GB",
        r"NVIDIA-H100(-80GB-HBM3|-PCIe|-SXM5-80GB)?",
        81920,
        karpenter="h100",
        gke="nvidia-h100-80gb",
        gke_machines=_machines("a3-highgpu", 1, 2, 4, 8),
        sagemaker={1: "ml.p5.4xlarge", 8: "ml.p5.48xlarge"},
    ),
    CloudGpu(
        "H200",
        r"NVIDIA-H200(-NVL)?",
        144384,
        karpenter="h200",
        gke="nvidia-h200-141gb",
        gke_machines={8: "a3-ultragpu-8g"},
        sagemaker={8: "ml.p5en.48xlarge"},
    ),
    CloudGpu(
        "B200",
        r"NVIDIA-B200",
        182296,
        karpenter="b200",
        gke="nvidia-b200",
        gke_machines={8: "a4-highgpu-8g"},
        sagemaker={8: "ml.p6-b200.48xlarge"},
    ),
    CloudGpu(
        "RTX PRO 6000",
        r"NVIDIA-RTX-PRO-6000-Blackwell[-A-Za-z]*",
        97887,
        gke="nvidia-rtx-pro-6000",
        gke_machines={1: "g4-standard-48", 2: "g4-standard-96", 4: "g4-standard-192", 8: "g4-standard-384"},
        cloud_run="nvidia-rtx-pro-6000",
    ),
)
"""The GPUs that are rented by these names."""


def gpu_of(replica: RenderedReplica, product: str | None) -> CloudGpu | None:
    """Return the GPU that `accelerator.product` names; None when the replica needs no GPU.

    Raises:
        TargetError: the devices are not NVIDIA's whole GPUs, or their product is unset or unknown.
    """
    if not replica.devices:
        return None
    if replica.resource != "nvidia.com/gpu":
        raise TargetError(
            "spec.accelerator.resourceName",
            f"this target has only whole NVIDIA GPUs, and the server asks for {replica.resource}: use the target "
            "kubernetes on nodes that have it",
        )
    names = ", ".join(gpu.name for gpu in GPUS)
    if product is None:
        raise TargetError(
            "spec.accelerator.product",
            "it is unset, and the target needs a GPU model: set the label of your nodes, such as "
            f"NVIDIA-H100-80GB-HBM3 (known: {names})",
        )
    found = next((gpu for gpu in GPUS if re.fullmatch(gpu.product, product)), None)
    if found is None:
        raise TargetError("spec.accelerator.product", f"{product} is no GPU that is known here (known: {names})")
    return found


def smallest(machines: Mapping[int, str], gpu: CloudGpu, devices: int, place: str) -> tuple[int, str]:
    """Return the smallest machine with enough GPUs for one replica: their number, and the type.

    Raises:
        TargetError: the place has no such GPU, or no machine has enough of them.
    """
    if not machines:
        raise TargetError("spec.accelerator.product", f"{place} has no {gpu.name}: choose another product")
    fitting = {count: name for count, name in machines.items() if count >= devices}
    if not fitting:
        raise TargetError(
            "spec.accelerator.count", f"no machine of {place} has {devices} {gpu.name}: at most {max(machines)}"
        )
    count = min(fitting)
    return count, fitting[count]
