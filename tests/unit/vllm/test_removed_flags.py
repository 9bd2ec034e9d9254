"""The explanation of a flag that a release lacks."""

from __future__ import annotations

import pytest

from vllm_operator.vllm.arguments import DRAIN_FLAG
from vllm_operator.vllm.known_release import nearest_release
from vllm_operator.vllm.removed_flags import REPLACEMENTS, explain_missing_flag


@pytest.mark.parametrize("flag", REPLACEMENTS)
def test_flag_with_a_replacement_is_gone_from_vllm(flag: str) -> None:
    assert flag not in nearest_release(None).flags


@pytest.mark.parametrize("flag", REPLACEMENTS)
def test_explanation_of_a_removed_flag_ends_with_its_replacement(flag: str) -> None:
    explanation = explain_missing_flag(flag)

    assert explanation.startswith("it was dropped ")
    assert explanation.endswith(f": {REPLACEMENTS[flag]}")


def test_flag_of_a_newer_release_needs_a_newer_image() -> None:
    assert explain_missing_flag(DRAIN_FLAG).startswith("it was added ")
    assert explain_missing_flag(DRAIN_FLAG).endswith(": use a newer image, or remove it")


def test_unknown_flag_has_no_explanation() -> None:
    assert explain_missing_flag("--no-such-flag") == ""
