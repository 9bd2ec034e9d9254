"""Notes on the version of vLLM: the reason why it is unknown, and the field that names it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.version_checks import entrypoint_warnings, version_warnings

REASONS = [
    ({"image": "registry.example/team/vllm:1.4.2"}, "the tag of the image does not show vLLM's version"),
    (
        {"image": "registry.redhat.io/rhaiis/vllm-cuda-rhel9:3.2.2"},
        "the tag of the image shows the version of Red Hat AI Inference Server, not that of vLLM",
    ),
    ({"image": "vllm/vllm-openai:v0.99.0"}, "the tag of the image names vLLM 0.99.0, which is newer than "),
    ({"image": "vllm/vllm-openai:v0.8.5"}, "the tag of the image names vLLM 0.8.5, which is older than 0.9.2, "),
    ({"version": "unknown"}, "spec.version is unknown"),
]


@pytest.mark.parametrize(("fields", "reason"), REASONS)
def test_unknown_version_is_noted_with_its_reason(fields: dict[str, str], reason: str) -> None:
    (note,) = version_warnings(spec(**fields))

    assert note.startswith(reason)
    assert note.endswith("set spec.version to the version of vLLM in the image")


def test_known_version_needs_no_note() -> None:
    assert version_warnings(spec(image="vllm/vllm-openai:v0.18.1")) == ()


SHELL = "rocm/vllm:rocm6.4.1_vllm_0.11.1_20250702"


def test_image_that_starts_a_shell_is_noted() -> None:
    (note,) = entrypoint_warnings(spec(image=SHELL))

    assert note == "images of AMD ROCm start a shell, not vLLM: set engine.command, such as [vllm, serve]"


@pytest.mark.parametrize(
    "fields",
    [
        {"image": SHELL, "engine": {"command": ["vllm", "serve"]}},
        {"image": SHELL, "podTemplate": {"spec": {"containers": [{"name": "vllm", "command": ["vllm"]}]}}},
        {"image": "vllm/vllm-openai:v0.32.0"},
        {"image": "quay.io/modh/vllm:rhoai-2.20-cuda"},
        {"image": "registry.example/team/vllm:1"},
    ],
)
def test_image_that_starts_vllm_or_may_do_so_needs_no_note(fields: dict[str, Any]) -> None:
    assert entrypoint_warnings(spec(**fields)) == ()


@pytest.mark.parametrize("template", [{}, {"spec": None}, {"spec": {"containers": "x"}}, {"spec": {"containers": [1]}}])
def test_template_of_any_shape_sets_no_command(template: dict[str, Any]) -> None:
    assert len(entrypoint_warnings(spec(image=SHELL, podTemplate=template))) == 1
