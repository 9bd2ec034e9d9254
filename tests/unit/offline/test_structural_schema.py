"""The structural schema is applied as the API server applies it."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.offline.structural_schema import schema_refusals, unknown_fields, with_defaults

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]*$"},
        "count": {"type": "integer", "minimum": 1, "maximum": 4, "default": 2},
        "share": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1},
        "size": {"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+Gi$"},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "on": {"type": "boolean"},
        "inner": {"type": "object", "default": {}, "properties": {"x": {"type": "integer", "default": 1}}},
        "labels": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "items": {
            "type": "array",
            "maxItems": 2,
            "minItems": 1,
            "items": {"type": "object", "properties": {"key": {"type": "string"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["key"],
        },
    },
}


def reasons(**fields: Any) -> list[tuple[str, str]]:
    found = schema_refusals(with_defaults({"name": "a", **fields}, SCHEMA), SCHEMA)
    return [(one.field, one.reason.removeprefix("FieldValue")) for one in found]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("name", "", "Invalid"), ("name", "abcd", "TooLong"), ("name", "a\n", "Invalid"), ("name", 1, "TypeInvalid"),
        ("count", 0, "Invalid"), ("count", 5, "Invalid"), ("count", 1.5, "TypeInvalid"), ("count", True, "TypeInvalid"),
        ("count", "1", "TypeInvalid"), ("count", 2**63, "TypeInvalid"), ("share", 0, "Invalid"),
        ("share", 1.1, "Invalid"), ("share", True, "TypeInvalid"), ("size", "1Mi", "Invalid"),
        ("size", 1.5, "TypeInvalid"), ("size", True, "TypeInvalid"), ("mode", "c", "NotSupported"),
        ("on", "yes", "TypeInvalid"), ("inner", [], "TypeInvalid"), ("labels", {"a": "", "b": ""}, "TooMany"),
        ("items", [], "Invalid"), ("items", [{}, {"key": "a"}, {"key": "b"}], "TooMany"),
        ("items", {}, "TypeInvalid"),
    ],
)  # fmt: skip
def test_value_out_of_bounds_is_refused(field: str, value: Any, reason: str) -> None:
    assert reasons(**{field: value}) == [(field, reason)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "abc"), ("count", 1), ("count", 4.0), ("share", 1), ("share", 0.5), ("size", 3), ("size", "3Gi"),
        ("mode", "a"), ("on", False), ("labels", {"a": "b"}), ("free", {"a": [None, {"b": 1}]}),
        ("items", [{"key": "a"}, {"key": "b"}]), ("count", None), ("labels", {"a": None}),
    ],
)  # fmt: skip
def test_value_within_bounds_is_accepted(field: str, value: Any) -> None:
    assert reasons(**{field: value}) == []


def test_items_of_a_map_list_and_of_maps_are_named() -> None:
    assert reasons(items=[{"key": "a"}, {"key": "a"}]) == [("items[1]", "Duplicate")]
    assert reasons(labels={"a": 1}) == [("labels.a", "TypeInvalid")]
    assert reasons(items=[None]) == [("items[0]", "TypeInvalid")]


def test_required_field_is_named() -> None:
    (found,) = schema_refusals({}, SCHEMA)

    assert (found.field, found.reason) == ("name", "FieldValueRequired")


def test_defaults_fill_missing_and_null_fields_also_in_a_default_object() -> None:
    assert with_defaults({"count": None, "mode": None}, SCHEMA) == {"count": 2, "inner": {"x": 1}}


def test_whole_float_becomes_an_integer_and_open_parts_keep_their_nulls() -> None:
    stored = with_defaults({"count": 4.0, "free": {"a": None}}, SCHEMA)

    assert type(stored["count"]) is int
    assert stored["free"] == {"a": None}


def test_unknown_fields_are_named_with_what_was_probably_meant() -> None:
    found = list(unknown_fields({"nam": 1, "inner": {"y": 1}, "free": {"z": 1}, "items": [{"q": 1}]}, SCHEMA))

    assert [one.field for one in found] == ["nam", "inner.y", "items[0].q"]
    assert found[0].message == "nam: unknown field: write name"
    assert found[1].message == "inner.y: unknown field: remove it: inner has x"


def test_unknown_field_that_belongs_one_level_deeper_is_placed() -> None:
    (found,) = unknown_fields({"x": 1}, SCHEMA, ("spec",))

    assert found.message == "spec.x: unknown field: write it as spec.inner.x"
