"""The version of vLLM in a spec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import spec
from vllm_operator.vllm.version import vllm_version

DIGEST = f"sha256:{'a1' * 32}"
TAGS = [
    ("vllm/vllm-openai:v0.32.0", (0, 32)),
    ("vllm/vllm-openai:0.32.0-cpu", (0, 32)),
    ("vllm/vllm-openai:v0.11.0-cu130", (0, 11)),
    ("vllm/vllm-openai:v0.32.0rc1", (0, 32)),
    ("vllm/vllm-openai:v1.2", (1, 2)),
    ("registry:5000/x/y:v0.31.2", (0, 31)),
    (f"vllm/vllm-openai:v0.32.0@{DIGEST}", (0, 32)),
    ("rocm/vllm:rocm6.4.1_vllm_0.10.1_20250909", (0, 10)),
    ("rocm/vllm:rocm7.0_ubuntu22.04_vllm0.10.1", (0, 10)),
    ("x/vllm:cuda12.8-v0.9.1", (0, 9)),
    ("x/vllm:cu128-v0.9.1", (0, 9)),
    ("nvcr.io/nvidia/vllm:25.09-py3", None),
    ("x/vllm:2025.01.02", None),
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


@given(st.integers(0, 9), st.integers(0, 200), st.integers(0, 20), st.sampled_from(["", "v"]))
def test_every_release_tag_is_read(major: int, minor: int, patch: int, prefix: str) -> None:
    assert vllm_version(spec(image=f"x:{prefix}{major}.{minor}.{patch}")) == (major, minor)


@given(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True))
def test_any_tag_can_be_read(tag: str) -> None:
    vllm_version(spec(image=f"x:{tag}"))
