"""Known families of vLLM images: where each names its version of vLLM, and whether its entrypoint starts vLLM.

A number in a tag is most often the version of another product: of a vendor's distribution, of CUDA, of a private build.
So a tag counts only where the family says so, or where the number stands directly behind `vllm`.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

VersionPlace = Literal["tag", "leading", "release", "name", "none"]
"""Where an image names its version of vLLM.

- `tag`: anywhere in its tag
- `leading`: at the start of its tag
- `release`: at the start of a tag that is written as vLLM's own, such as `v0.32.0`
- `name`: behind `vllm-` in the last part of its name
- `none`: nowhere, because its tag has the version of another product

A number directly behind `vllm` in a tag counts in each case.
"""

VLLM_SERVE = ("vllm", "serve")
"""Command that starts vLLM's API server in images whose entrypoint does not."""


@dataclass(frozen=True)
class ImageFamily:
    """Images of one publisher.

    Attributes:
        name: name for messages.
        repositories: regular expression over the end of the repository, registry and path without tag and digest.
        version: where the image names its version of vLLM.
        starts_vllm: True when the entrypoint is vLLM's API server, False when it is a shell; None when releases differ.
        source: page or file that shows it.
    """

    name: str
    repositories: str
    version: VersionPlace
    starts_vllm: bool | None
    source: str


FAMILIES: tuple[ImageFamily, ...] = (
    ImageFamily(
        "vLLM",
        r"(^|/)vllm/vllm-openai(-[a-z0-9]+)*|q9t5s3a7/vllm-([a-z0-9]+-)*release-repo",
        "tag",
        True,
        "https://docs.vllm.ai/en/latest/deployment/docker/",
    ),
    # Built by `make cluster-up`: vLLM's release for CPUs. "localhost" is no registry, so nobody else publishes there.
    ImageFamily("the local cluster", r"^localhost/vllm-cpu", "tag", True, "tools/localcluster/vllm_image.py"),
    ImageFamily(
        "vLLM for TPUs",
        r"(^|/)vllm/vllm-tpu",
        "tag",
        False,
        "https://github.com/vllm-project/vllm/blob/main/docker/Dockerfile.tpu",
    ),
    ImageFamily(
        "Red Hat AI Inference Server",
        r"(^|/)rhaii?s?/vllm-[a-z0-9-]+",
        "none",
        True,
        "https://docs.redhat.com/en/documentation/red_hat_ai_inference_server/3.2/html-single/vllm_server_arguments/",
    ),
    ImageFamily(
        "Red Hat OpenShift AI",
        r"(^|/)(modh/vllm|rhoai/odh-vllm-[a-z0-9-]+)",
        "none",
        None,
        "https://docs.redhat.com/en/documentation/red_hat_openshift_ai_self-managed/ (serving runtimes set a command)",
    ),
    ImageFamily(
        "Intel Gaudi",
        r"(^|/)gaudi-docker/.*/habanalabs/vllm-[a-z0-9.-]+",
        "name",
        None,
        "https://docs.vllm.ai/projects/gaudi/en/latest/getting_started/quickstart/quickstart.html",
    ),
    ImageFamily(
        "AWS Neuron",
        r"(^|/)(neuron/)?pytorch-inference-vllm-neuronx?",
        "leading",
        None,
        "https://awsdocs-neuron.readthedocs-hosted.com/en/latest/setup/pytorch/dlc.html",
    ),
    ImageFamily(
        "AMD ROCm",
        r"(^|/)rocm/(vllm(-dev)?|pytorch-vllm)",
        "none",
        False,
        "https://rocm.docs.amd.com/en/latest/how-to/rocm-for-ai/inference/benchmark-docker/vllm.html",
    ),
    ImageFamily(
        "vLLM Ascend",
        r"(^|/)ascend/vllm-ascend",
        "leading",
        False,
        "https://docs.vllm.ai/projects/ascend/en/latest/getting_started/quick_start.html",
    ),
    ImageFamily(
        "llm-d",
        r"(^|/)llm-d/llm-d(-[a-z0-9]+)*",
        "none",
        None,
        "https://github.com/llm-d/llm-d/tree/main/docker (charts set modelCommand)",
    ),
    ImageFamily(
        "LMCache",
        r"(^|/)lmcache/(vllm-openai|lmcache_vllm)",
        "none",
        True,
        "https://github.com/LMCache/LMCache/blob/dev/docker/Dockerfile",
    ),
    # Tags such as 0.11.0-gpu-py312 began with vLLM's version; server-cuda-v1.0.0 counts the images themselves.
    ImageFamily(
        "AWS Deep Learning Containers",
        r"(\.amazonaws\.com|deep-learning-containers)/vllm(-[a-z0-9]+)*",
        "leading",
        None,
        "https://aws.github.io/deep-learning-containers/vllm/",
    ),
    ImageFamily(
        "NVIDIA NGC",
        r"^nvcr\.io/nvidia/vllm",
        "none",
        False,
        "https://docs.nvidia.com/deeplearning/frameworks/vllm-release-notes/running.html",
    ),
    ImageFamily(
        "Intel vLLM",
        r"(^|/)intel/vllm",
        "leading",
        None,
        "https://github.com/intel/ai-containers/blob/main/vllm/0.17.0-xpu.md",
    ),
    ImageFamily(
        "Intel XPU",
        r"(^|/)(intel/llm-scaler-vllm|intelanalytics/ipex-llm-serving-[a-z0-9-]+)",
        "none",
        False,
        "https://github.com/intel/llm-scaler/releases/tag/vllm-1.5",
    ),
    ImageFamily(
        "Tenstorrent",
        r"(^|/)tenstorrent/tt-inference-server/[a-z0-9._-]+",
        "none",
        None,
        "https://github.com/tenstorrent/tt-inference-server",
    ),
    # Mirrors under another path: only with the tags that vLLM itself writes, since private builds have this name too.
    ImageFamily(
        "a mirror of vLLM",
        r"(^|/)vllm-openai(-(cpu|rocm|xpu))?",
        "release",
        True,
        "https://docs.vllm.ai/en/latest/deployment/docker/",
    ),
)
"""The families, in the order in which they are tried."""

_PATTERNS = tuple((family, re.compile(rf"(?:{family.repositories})$")) for family in FAMILIES)

LONGEST_REPOSITORY = 512
"""Characters of a repository that are compared with the families; registries allow 255 for the path."""


@functools.lru_cache(maxsize=256)
def image_family(image: str) -> ImageFamily | None:
    """Return the family of an image; None for an unknown one."""
    name = repository(image)[-LONGEST_REPOSITORY:]
    return next((family for family, pattern in _PATTERNS if pattern.search(name)), None)


def repository(image: str) -> str:
    """Return registry and path of an image, without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def image_tag(image: str) -> str:
    """Return the tag of an image; empty without one."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]
