"""The files of the targets for Kubernetes on a real API server: Karpenter, plain manifests, VLLMServers for GKE."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.target_files import H100, L4, render, text_of, write
from tools.harness.kube import Kube
from tools.localcluster import settings

KARPENTER_CRDS = ("nodepools.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws")
STRICT = ("--server-side", "--dry-run=server", "--validate=strict", "--field-manager=tests")

CASES = {
    "h100": {"accelerator": {"product": H100}, "engine": {"tensorParallelSize": 4}},
    "a100": {"accelerator": {"product": "NVIDIA-A100-SXM4-80GB"}, "autoscaling": {"maxReplicas": 3}},
    "cpu": {"accelerator": {"resourceName": ""}},
    "neuron": {"accelerator": {"resourceName": "aws.amazon.com/neuron"}},
    "selector": {
        "accelerator": {"product": L4},
        "scheduling": {"nodeSelector": {"team": "a", "topology.kubernetes.io/zone": "us-east-1a"}},
    },
}


@pytest.fixture(scope="module")
def karpenter(kube: Kube) -> Iterator[Kube]:
    """The cluster with Karpenter's CRDs."""
    command = [sys.executable, "-m", "tools.localcluster", "crds", "karpenter"]
    done = subprocess.run(command, cwd=settings.REPOSITORY, capture_output=True, text=True, check=True)
    folder = Path(done.stdout.strip())
    files = ["karpenter.sh_nodepools.yaml", "karpenter.k8s.aws_ec2nodeclasses.yaml"]
    arguments = [argument for name in files for argument in ("-f", str(folder / name))]
    kube.kubectl("apply", "--server-side", *arguments)
    kube.wait_for_crds(*KARPENTER_CRDS)
    yield kube
    kube.kubectl("delete", *arguments)


@pytest.mark.parametrize("settings_of", [{}, {"ami": "bottlerocket@latest", "capacity": "on-demand,spot"}])
@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_karpenters_crds_accept_pool_and_class(karpenter: Kube, fields: dict, settings_of: dict[str, str]) -> None:
    result = render("karpenter", settings=settings_of, **fields)
    for name in ("nodepool.yaml", "ec2nodeclass.yaml"):
        karpenter.apply(text_of(result, name), *STRICT)


def test_karpenters_crds_refuse_a_wrong_pool(karpenter: Kube) -> None:
    text = text_of(render("karpenter", **CASES["h100"]), "nodepool.yaml")
    answer = karpenter.apply(text.replace("WhenEmpty", "Sometimes"), *STRICT, check=False)
    assert answer.code != 0
    assert "consolidationPolicy" in answer.text


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_plain_manifests_are_accepted(kube: Kube, tmp_path: Path, fields: dict) -> None:
    write(render("kubernetes", namespace="default", **fields), tmp_path)
    kube.kubectl("apply", "-k", str(tmp_path), *STRICT)


@pytest.mark.parametrize("target", ["gke", "gke-autopilot"])
def test_the_servers_for_gke_are_accepted(kube: Kube, target: str) -> None:
    result = render(target, namespace="default", accelerator={"product": H100}, autoscaling={"maxReplicas": 3})
    kube.apply(text_of(result, "vllmserver.yaml"), *STRICT)
