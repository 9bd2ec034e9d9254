from __future__ import annotations

import pytest

from tests.helpers.target_files import GOLDEN, golden, rendered
from vllm_operator.targets.registry import TARGETS
from vllm_operator.targets.target import RenderedTarget, TargetError


def test_unknown_target_names_the_known_ones() -> None:
    with pytest.raises(TargetError, match=r"--target: 'podman' is unknown: use one of compose, quadlet, "):
        rendered("podman", golden("smallest"))


def test_examples_are_noted() -> None:
    result = rendered("sagemaker", golden("guide"))
    assert "--set role" in {item.field for item in result.not_carried}


def refusal_or_files(target: str, name: str) -> TargetError | RenderedTarget:
    try:
        return rendered(target, golden(name))
    except TargetError as error:
        return error


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("target", TARGETS)
def test_every_golden_manifest_is_rendered_or_refused_by_a_field(target: str, name: str) -> None:
    result = refusal_or_files(target, name)
    if isinstance(result, TargetError):
        assert result.field.startswith(("spec.", "--set "))
        assert len(str(result)) > len(result.field) + 20
    else:
        assert result.files
        assert all(file.text.endswith("\n") for file in result.files)
