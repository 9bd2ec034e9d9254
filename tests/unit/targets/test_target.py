from __future__ import annotations

import pytest

from vllm_operator.targets.coverage import Coverage
from vllm_operator.targets.target import NotCarried, RenderedTarget, Setting, Target, TargetError, checked_settings

TARGET = Target(
    "moon",
    "the moon",
    lambda order: RenderedTarget(()),
    Coverage(frozenset(), {}),
    (Setting("base", "north", "name of the base", "[a-z]+", required=True), Setting("dust", "", "dust", "[a-z]*")),
)


def test_settings_have_defaults_and_examples_are_noted() -> None:
    values, missing = checked_settings(TARGET, {})
    assert values == {"base": "north", "dust": ""}
    assert missing == (NotCarried("--set base", "the example north stands for your name of the base"),)


def test_given_settings_replace_the_example() -> None:
    values, missing = checked_settings(TARGET, {"base": "south"})
    assert values["base"] == "south"
    assert missing == ()


def test_unknown_setting_names_the_known_ones() -> None:
    with pytest.raises(TargetError, match="--set bas: the target moon has base, dust"):
        checked_settings(TARGET, {"bas": "x"})


@pytest.mark.parametrize("value", ["South", "south\n", ""])
def test_a_value_must_match_its_pattern(value: str) -> None:
    with pytest.raises(TargetError, match="is no name of the base"):
        checked_settings(TARGET, {"base": value})
