"""Values in a template: YAML never interprets the text of a user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vllm_operator.desired.rendering.placeholders import fill_template, parse_template, plain_value
from vllm_operator.desired.rendering.templates import environment
from vllm_operator.desired.rendering.templates import render_object as rendered
from vllm_operator.errors import TemplateError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
HOSTILE = [
    "on", "off", "yes", "no", "~", "null", "true", "", " ", "0x1f", "0o17", "017", "1e3", ".inf", ".nan", "1_000",
    "2001-01-01", "12:30:45", "<<", "=", "!!python/object:os.system", "&a", "*a", "- a", "a: b", "a #b", "---", "...",
    "{{ name }}", "{% raw %}", "{# gone #}", "{{ '{{' }}", "%YAML 1.1", "\"'\\", "a\nb\n", "\r\n", "\t", "\x00", "\x07",
    "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "🦙", "👩🏽‍🚀", "ア", "$(HOME)", "\\ud83e\\udd99", "\\U0001F999",
    "\\",
]  # fmt: skip


def shown(value: object, template: str = "before: 1\nvalue: {{ value }}\nafter: 2\n") -> Any:
    """Return the value after it went through a template."""
    read = rendered(environment().from_string(template), {"value": value})
    assert (read["before"], read["after"]) == (1, 2)
    return read["value"]


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and have the same types at each level."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


@given(VALUES)
@example(1e16)
@example(-1e-7)
@example({"k" * 3000: {"🦙" * 400: 1}, "b": 2})
@example([[[{}]], [], {"a": {}}])
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    assert is_same(shown([value]), [without_unset(value)])


def without_unset(value: Any) -> Any:
    """Return the value without keys whose value is None."""
    if isinstance(value, dict):
        return {key: without_unset(item) for key, item in value.items() if item is not None}
    return [without_unset(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_back_as_it_was(text: str) -> None:
    assert shown(text) == text
    assert shown({text: [text]}) == {text: [text]}


@given(TEXTS)
def test_any_text_can_be_a_key_within_a_line(text: str) -> None:
    assert shown({text: 1}, "before: 1\nvalue: {inner: {{ value }}, last: [x]}\nafter: 2\n") == {
        "inner": {text: 1},
        "last": ["x"],
    }


@given(TEXTS)
def test_text_of_a_template_is_the_same_for_all_values(text: str) -> None:
    before = parse_template.cache_info().misses
    shown("first", "before: 1\nvalue: {{ value }}  # of all\nafter: 2\n")
    shown(text, "before: 1\nvalue: {{ value }}  # of all\nafter: 2\n")

    assert parse_template.cache_info().misses <= before + 1


def test_value_is_a_copy() -> None:
    value = {"a": [1]}
    shown(value)["a"].append(2)

    assert value == {"a": [1]}
    assert shown(value) == {"a": [1]}


def test_value_can_be_a_key() -> None:
    assert rendered(environment().from_string("{{ name }}: 1"), {"name": "on"}) == {"on": 1}


@pytest.mark.parametrize("template", ["a: b-{{ name }}", "a: {{ name }}-b", "a: [x{{ name }}]", "a: '{{ name }}'"])
def test_expression_inside_a_text_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match=r"must be a whole value|no valid YAML"):
        rendered(environment().from_string(template), {"name": "x"})


def test_dataclasses_are_objects() -> None:
    @dataclass(frozen=True)
    class Plan:
        name: str
        args: tuple[str, ...]

    assert shown([Plan("a", ("x", "y"))]) == [{"name": "a", "args": ["x", "y"]}]


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), Path("x")])
def test_value_without_yaml_is_refused(value: object) -> None:
    with pytest.raises(TemplateError, match="cannot show"):
        plain_value(value)


@pytest.mark.parametrize(
    "text", ["a: 1\na: 2\n", "a: {b: 1, b: 2}\n", "a: [{b: 1, b: 2}]\n", '"a": 1\na: 2\n', "? a\n: 1\na: 2\n"]
)
def test_equal_keys_are_refused_by_name(text: str) -> None:
    with pytest.raises(TemplateError, match=r"equal keys in a template: \['[ab]'\]"):
        fill_template(text, [])


@pytest.mark.parametrize("text", ["", "a: 1\n---\nb: 2\n", "- a\n", "a\n", "null\n", "---\n---\n"])
def test_anything_but_one_object_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="must render one object"):
        fill_template(text, [])


@pytest.mark.parametrize("text", ["a: [", "a: 'b", "a:\n\t- b", "a: !!python/object:os.system {}"])
def test_broken_yaml_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="no valid YAML"):
        fill_template(text, [])


def test_unset_fields_vanish_and_empty_ones_stay() -> None:
    value = {"a": None, "b": [{"c": None, "d": 0}], "e": {}, "f": "", "g": False, "h": []}

    assert plain_value(value) == {"b": [{"d": 0}], "e": {}, "f": "", "g": False, "h": []}
