"""Arguments that were written for a shell, and the spelling that is suggested instead."""

from __future__ import annotations

import pytest
import yaml

from tests.helpers.specs import spec
from vllm_operator.validation.checks import spec_problems
from vllm_operator.validation.shell_quotes import LONGEST_SUGGESTION, suggested_items, without_quotes

ITEMS = [
    ("--max-model-len 8192", ["--max-model-len=8192"]),
    ("-tp  2", ["-tp=2"]),
    ('--hf-overrides \'{"a": {"b": 1}}\'', ['--hf-overrides={"a": {"b": 1}}']),
    ('--hf-overrides "{\\"a\\": 1}"', ['--hf-overrides={"a": 1}']),
    ('--hf-overrides {"a": 1}', ['--hf-overrides={"a": 1}']),
    ("--dtype 'bfloat16'", ["--dtype=bfloat16"]),
    ("--lora-modules a=/a b=/b", ["--lora-modules", "a=/a", "b=/b"]),
    ("--max-model-len 8192 --enforce-eager", ["--max-model-len", "8192", "--enforce-eager"]),
    ("--enforce-eager --async-scheduling", ["--enforce-eager", "--async-scheduling"]),
]


@pytest.mark.parametrize(("item", "expected"), ITEMS)
def test_suggestion_is_yaml_that_is_accepted(item: str, expected: list[str]) -> None:
    (problem,) = [
        one for one in spec_problems(spec(engine={"extraArgs": [item]})) if "one item with a space" in one.message
    ]
    suggestion = problem.message.rpartition(": write ")[2]

    assert yaml.safe_load(f"[{suggestion}]") == expected
    assert spec_problems(spec(engine={"extraArgs": expected})) == ()


def test_long_suggestion_is_described_instead() -> None:
    item = "--hf-overrides '" + "x" * LONGEST_SUGGESTION + "'"
    (problem,) = spec_problems(spec(engine={"extraArgs": [item]}))

    assert suggested_items(item) == ""
    assert problem.message.endswith("write the flag, = and its value, without quotes of a shell")


@pytest.mark.parametrize(
    ("value", "bare"),
    [("'a b'", "a b"), ('"a"', "a"), ("a", "a"), ("'a", "'a"), ("'a' 'b'", "'a' 'b'"), ("it's", "it's"), ("", "")],
)
def test_only_quotes_around_the_whole_are_removed(value: str, bare: str) -> None:
    assert without_quotes(value) == bare
