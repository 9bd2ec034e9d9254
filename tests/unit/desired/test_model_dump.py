"""Models as plain values, and JSON merge patches."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.api.core import EnvVar, Toleration
from vllm_operator.desired.model_dump import dump_model, merge_patch


def test_model_has_yaml_names_and_no_unset_fields() -> None:
    assert dump_model(Toleration(key="team", toleration_seconds=5)) == {"key": "team", "tolerationSeconds": 5}


def test_list_of_models_keeps_its_order() -> None:
    assert dump_model([EnvVar(name="B", value=""), EnvVar(name="A")]) == [{"name": "B", "value": ""}, {"name": "A"}]


# The examples of RFC 7386, appendix A, that have an object on both sides.
RFC: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("base", "patch", "expected"), RFC)
def test_merge_patch_follows_the_rfc(base: dict[str, Any], patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert merge_patch(base, patch) == expected


def test_result_shares_nothing_with_its_sources() -> None:
    base, patch = {"a": {"b": [1]}}, {"c": {"d": [2]}}
    merged = merge_patch(base, patch)
    merged["a"]["b"].append(0)
    merged["c"]["d"].append(0)

    assert (base, patch) == ({"a": {"b": [1]}}, {"c": {"d": [2]}})


def test_no_patch_changes_nothing() -> None:
    assert merge_patch({"a": 1}, None) == {"a": 1}
