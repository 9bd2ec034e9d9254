"""The version of vLLM in a spec."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import spec
from vllm_operator.vllm.version import follows_report, reported_version, shown_version, vllm_version

DIGEST = f"sha256:{'a1' * 32}"
TAGS = [
    ("vllm/vllm-openai:v0.32.0", (0, 32)),
    ("docker.io/vllm/vllm-openai:v0.32.0", (0, 32)),
    ("harbor.example:5000/proxy/vllm/vllm-openai-rocm:v0.32.0", (0, 32)),
    ("harbor.example/mirror/vllm-openai:v0.31.0", (0, 31)),
    ("public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.20.0", (0, 20)),
    ("vllm/vllm-openai:0.32.0-cpu", (0, 32)),
    ("localhost/vllm-cpu:0.32.0", (0, 32)),
    ("vllm/vllm-openai:v0.11.0-cu130", (0, 11)),
    ("vllm/vllm-openai:cu130-v0.11.0", (0, 11)),
    ("vllm/vllm-openai:v0.32.0rc1", (0, 32)),
    (f"vllm/vllm-openai:v0.32.0@{DIGEST}", (0, 32)),
    ("rocm/vllm:rocm6.4.1_vllm_0.10.1_20250909", (0, 10)),
    ("rocm/vllm:rocm7.0_ubuntu22.04_vllm0.10.1", (0, 10)),
    ("x/serving:torch-2.5.1-vllm-0.11.2", (0, 11)),
    ("x/serving:3.2.2-vllm-v0.11.2", (0, 11)),
    ("quay.io/ascend/vllm-ascend:v0.13.0-a3", (0, 13)),
    ("public.ecr.aws/neuron/pytorch-inference-vllm-neuronx:0.29.0.1.2.0-neuronx-py314-sdk2.33.0-ubuntu26.04", (0, 29)),
    ("763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:0.11.0-gpu-py312-cu129", (0, 11)),
    ("vault.habana.ai/gaudi-docker/1.24.1/ubuntu24.04/habanalabs/vllm-0.26.0-ptupstream-2.11.0:latest", (0, 26)),
    # Versions of other products, and private ones.
    ("registry.redhat.io/rhaiis/vllm-cuda-rhel9:3.2.2", None),
    ("registry.redhat.io/rhaiis/vllm-cuda-rhel9:0.12.3", None),
    ("quay.io/modh/vllm:rhoai-2.20-cuda", None),
    ("ghcr.io/llm-d/llm-d-cuda:v0.9.0", None),
    ("lmcache/vllm-openai:v0.11.0", None),
    ("intel/llm-scaler-vllm:0.14.0-b8", None),
    ("intel/llm-scaler-vllm:1.5", None),
    ("763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:server-cuda-v1.0.0", None),
    ("vault.habana.ai/gaudi-docker/1.22.0/ubuntu24.04/habanalabs/vllm-installer-2.7.1:latest", None),
    (
        "ghcr.io/tenstorrent/tt-inference-server/vllm-tt-metal-src-release-ubuntu-22.04-amd64:0.20.0-de59f8a-03fa3af",
        None,
    ),
    ("nvcr.io/nvidia/vllm:25.09-py3", None),
    ("nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.11.0", None),
    ("registry.example/team/vllm:1.4.2", None),
    ("registry.example/team/vllm:0.12.3", None),
    ("registry.example/team/vllm-openai:0.12.3", None),
    ("registry.example/team/vllm:v2.0", None),
    ("registry.example/team/vllm:build-3.1", None),
    ("registry:5000/x/y:v0.31.2", None),
    ("x/vllm:cuda12.8-v0.9.1", None),
    ("x/vllm:2025.01.02", None),
    # Newer than the newest and older than the oldest measured release.
    ("vllm/vllm-openai:v1.2", None),
    ("vllm/vllm-openai:v0.99.0", None),
    ("vllm/vllm-openai:v0.8.5", None),
    ("x/serving:torch-2.5.1-vllm-0.8.5", None),
    # No version at all.
    ("vllm/vllm-openai:nightly", None),
    ("vllm/vllm-openai:latest", None),
    ("vllm/vllm-openai", None),
    ("registry:5000/x/y", None),
    ("registry.0.32/x/y", None),
    (f"vllm/vllm-openai@{DIGEST}", None),
    ("x/vllm-0.32:custom", None),
]


@pytest.mark.parametrize(("image", "version"), TAGS)
def test_tag_has_the_version(image: str, version: tuple[int, int] | None) -> None:
    assert vllm_version(spec(image=image)) == version


@pytest.mark.parametrize("version", ["0.31", "0.31.4", "v0.31.4", "0.31.0rc2", "0.31.0+cpu"])
def test_spec_wins_over_the_tag(version: str) -> None:
    assert vllm_version(spec(image="vllm/vllm-openai:v0.32.0", version=version)) == (0, 31)


def test_spec_declares_a_version_beyond_the_measured_ones() -> None:
    assert vllm_version(spec(image="registry.example/team/vllm:1.4.2", version="1.4.2")) == (1, 4)


def test_unknown_in_the_spec_wins_over_the_tag() -> None:
    assert vllm_version(spec(image="vllm/vllm-openai:v0.32.0", version="unknown")) is None


@given(st.integers(0, 9), st.integers(0, 200), st.integers(0, 20), st.sampled_from(["", "v"]))
def test_every_release_tag_is_read(major: int, minor: int, patch: int, prefix: str) -> None:
    shown = shown_version(spec(image=f"vllm/vllm-openai:{prefix}{major}.{minor}.{patch}"))

    assert shown is not None
    assert (shown.number, shown.declared) == ((major, minor, patch), False)


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True))
def test_any_tag_can_be_read(tag: str) -> None:
    vllm_version(spec(image=f"vllm/vllm-openai:{tag}"))


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.9.2", (0, 9, 2)), ("0.10.1.dev1+g1234567", (0, 10, 1)), ("0.9.2, 0.10.1", None), ("", None), ("x", None)],
)
def test_report_of_one_version_is_read(text: str, number: tuple[int, ...] | None) -> None:
    shown = reported_version({"version": text})

    assert (shown.number if shown else None) == number


@pytest.mark.parametrize("status", [{}, {"version": None}, {"version": 1}])
def test_status_without_a_version_reports_none(status: dict[str, Any]) -> None:
    assert reported_version(status) is None


def test_only_servers_without_any_version_follow_the_report() -> None:
    assert follows_report(spec(image="registry.example/team/vllm:1.4.2"))
    assert not follows_report(spec(image="vllm/vllm-openai:v0.32.0"))
    assert not follows_report(spec(image="registry.example/team/vllm:1.4.2", version="0.11.2"))
    assert not follows_report(spec(image="registry.example/team/vllm:1.4.2", version="unknown"))
