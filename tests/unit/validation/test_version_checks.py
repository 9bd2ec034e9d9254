"""Notes on the version of vLLM: the reason why it is unknown, and the field that names it."""

from __future__ import annotations

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.version_checks import version_warnings

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
