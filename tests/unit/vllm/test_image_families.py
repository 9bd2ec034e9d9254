"""The table of image families: each image belongs to one, and each row names its source."""

from __future__ import annotations

import pytest

from vllm_operator.vllm.image_families import FAMILIES, image_family, image_tag, repository

MEMBERS = [
    ("vllm/vllm-openai:v0.32.0", "vLLM"),
    ("docker.io/vllm/vllm-openai-rocm:v0.32.0", "vLLM"),
    ("vllm/vllm-openai-cpu@sha256:" + "a" * 64, "vLLM"),
    ("public.ecr.aws/q9t5s3a7/vllm-arm64-cpu-release-repo:v0.20.0", "vLLM"),
    ("vllm/vllm-tpu:nightly", "vLLM for TPUs"),
    ("localhost/vllm-cpu:0.32.0", "the local cluster"),
    ("registry.redhat.io/rhaiis/vllm-rocm-rhel9:3.2.2", "Red Hat AI Inference Server"),
    ("quay.io/modh/vllm:rhoai-2.20-cuda", "Red Hat OpenShift AI"),
    ("vault.habana.ai/gaudi-docker/1.24.1/ubuntu24.04/habanalabs/vllm-0.26.0-ptupstream-2.11.0:latest", "Intel Gaudi"),
    ("public.ecr.aws/neuron/pytorch-inference-vllm-neuronx:0.29.0.1.2.0-neuronx-py314", "AWS Neuron"),
    ("rocm/vllm:rocm6.4.1_vllm_0.9.1_20250702", "AMD ROCm"),
    ("quay.io/ascend/vllm-ascend:v0.13.0", "vLLM Ascend"),
    ("ghcr.io/llm-d/llm-d-cuda:v0.9.0", "llm-d"),
    ("lmcache/vllm-openai:v0.3.9", "LMCache"),
    ("763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:server-cuda-v1", "AWS Deep Learning Containers"),
    ("nvcr.io/nvidia/vllm:25.09-py3", "NVIDIA NGC"),
    ("intel/vllm:0.17.0-xpu", "Intel vLLM"),
    ("intel/llm-scaler-vllm:1.5", "Intel XPU"),
    ("ghcr.io/tenstorrent/tt-inference-server/vllm-tt-metal-src:0.20.0", "Tenstorrent"),
    ("harbor.example/mirror/vllm-openai:v0.32.0", "a mirror of vLLM"),
]


@pytest.mark.parametrize(("image", "name"), MEMBERS)
def test_image_belongs_to_its_family(image: str, name: str) -> None:
    family = image_family(image)

    assert family is not None
    assert family.name == name


@pytest.mark.parametrize("image", ["registry.example/team/vllm:1.4.2", "notvllm/vllm-openai-x/y:1", "x", ":", "@"])
def test_other_images_have_no_family(image: str) -> None:
    assert image_family(image) is None


def test_every_family_has_a_member_and_a_source() -> None:
    assert {family.name for family in FAMILIES} == {name for _, name in MEMBERS}
    assert all(family.source for family in FAMILIES)


def test_registry_with_a_port_and_a_digest_are_cut_off() -> None:
    image = "registry.example:5000/a/b:v1@sha256:" + "a" * 64

    assert (repository(image), image_tag(image)) == ("registry.example:5000/a/b", "v1")
    assert image_tag("registry.example:5000/a/b") == ""
