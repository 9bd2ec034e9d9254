"""The CEL rules of the CRD are evaluated as Kubernetes evaluates them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from vllm_operator.api.crd import crd
from vllm_operator.offline import cel_rules
from vllm_operator.offline.cel_rules import NoCelLibraryError, has_transition_rules, rule_refusals

FUNCTIONS = {"all", "contains", "double", "endsWith", "exists", "has", "matches", "size", "startsWith", "trim"}
"""Functions that were compared with those of Kubernetes (tests/integration/test_render.py)."""


def expressions(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from expressions(item)
    elif isinstance(schema, Mapping):
        for rule in schema.get("x-kubernetes-validations", ()):
            yield rule["rule"]
            yield rule.get("messageExpression", "")
        for item in schema.values():
            yield from expressions(item)


def with_rule(rule: str, **more: str) -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": rule, "message": "no", **more}]}


def messages(rule: str, value: Any, **more: str) -> list[str]:
    return [one.message for one in rule_refusals(value, with_rule(rule, **more))]


def test_rules_of_the_crd_use_only_functions_that_are_supported() -> None:
    used = {name for text in expressions(crd()) for name in re.findall(r"([A-Za-z]+)\(", re.sub(r"'[^']*'", "", text))}

    assert used <= FUNCTIONS


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("self.trim().size() > 0", " \u00a0\u2003", False),
        ("self.trim().size() > 0", "\x1f", True),
        ("self.matches('^[a-z]+$')", "ab\n", False),
        ("!has(self.a) || self.a == 0 || self.a == '0%'", {"a": "0%"}, True),
        ("!has(self.a) || self.a == 0 || self.a == '0%'", {"a": 1}, False),
        ("has(self.a) != has(self.b)", {"a": 1, "b": 2}, False),
        ("double(self) < 1.0", 1, False),
        ("double(self) < 1.0", 0.999, True),
        ("self.exists(a, a.startsWith('x'))", ["a", "xy"], True),
        ("self.all(a, (has(a.b) ? a.b : 2) <= 2)", [{"b": 1}, {}], True),
        ("self.all(a, (has(a.b) ? a.b : 2) <= 2)", [{"b": 1}, {"b": 3}], False),
        ("(has(self.a) ? self.a.b : self.c) <= 1", {"c": 2}, False),
        ("has(self.a) && self.a.exists(m, m in ['x', 'y'])", {"a": ["z"]}, False),
    ],
)
def test_rule_holds_or_is_broken(rule: str, value: Any, holds: bool) -> None:
    assert messages(rule, value) == ([] if holds else ["no"])


def test_broken_rule_names_its_field_path_and_computes_its_message() -> None:
    (found,) = rule_refusals({"a": 1}, {"properties": {"a": with_rule("self > 1", messageExpression="'is ' + 'low'")}})
    (other,) = rule_refusals({"a": 1}, with_rule("self.a > 1", fieldPath=".a"), ("spec",))

    assert (found.field, found.message) == ("a", "a: is low")
    assert other.field == "spec.a"


def test_rules_of_items_and_of_values_are_evaluated() -> None:
    schema = {"items": {"additionalProperties": with_rule("self > 1")}}

    assert [one.field for one in rule_refusals([{"x": 1, "y": 2}], schema)] == ["[0].x"]


def test_rule_that_ends_with_an_error_refuses() -> None:
    assert "no (the rule ended with an error" in messages("self.missing == 1", {})[0]


def test_transition_rule_is_skipped_and_found() -> None:
    schema = {"properties": {"a": {"items": with_rule("self == oldSelf")}}}

    assert list(rule_refusals({"a": [1]}, schema)) == []
    assert has_transition_rules(schema)
    assert not has_transition_rules({"properties": {"a": with_rule("self == 1")}})


def test_missing_library_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cel_rules._program.cache_clear()
    monkeypatch.setitem(sys.modules, "cel", None)

    with pytest.raises(NoCelLibraryError):
        messages("self == 1", 1)
