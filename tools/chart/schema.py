"""The JSON Schema of a values file: unknown keys and wrong types are refused before anything is rendered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tools.chart.values import Schema, Value

DRAFT = "http://json-schema.org/draft-07/schema#"
"""Draft that both Helm 3 and Helm 4 validate."""

NAME = {"type": "string", "minLength": 1, "maxLength": 253}
LABEL_VALUE = {"type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"}
LABEL_NAME = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
QUANTITY = {
    "anyOf": [
        {"type": "string", "pattern": r"^([0-9]+|[0-9]*\.[0-9]+)([EPTGMk]i?|Ki|[mun]|[eE][-+]?[0-9]+)?$"},
        {"type": "number", "minimum": 0},
    ]
}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}

DEFINITIONS: dict[str, Schema] = {
    "namespace": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
    "labels": {"type": "object", "additionalProperties": LABEL_VALUE, "propertyNames": {"pattern": LABEL_NAME}},
    "annotations": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "propertyNames": {"pattern": LABEL_NAME},
    },
    "reference": {"type": "object", "properties": {"name": NAME}, "required": ["name"], "additionalProperties": False},
    "named": {"type": "object", "properties": {"name": NAME}, "required": ["name"]},
    "variable": {
        "type": "object",
        "properties": {"name": NAME, "value": {"type": "string"}, "valueFrom": {"type": "object"}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "resources": {
        "type": "object",
        "properties": {"requests": QUANTITIES, "limits": QUANTITIES, "claims": {"type": "array"}},
        "additionalProperties": False,
    },
    "toleration": {
        "type": "object",
        "properties": {
            "key": {"type": "string"},
            "operator": {"enum": ["Exists", "Equal", "Lt", "Gt"]},
            "value": {"type": "string"},
            "effect": {"enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"]},
            "tolerationSeconds": {"type": "integer"},
        },
        "additionalProperties": False,
    },
    "spread": {
        "type": "object",
        "properties": {
            "maxSkew": {"type": "integer", "minimum": 1},
            "topologyKey": NAME,
            "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]},
            "labelSelector": {"type": "object"},
            "minDomains": {"type": "integer", "minimum": 1},
            "matchLabelKeys": {"type": "array", "items": NAME},
            "nodeAffinityPolicy": {"enum": ["Honor", "Ignore"]},
            "nodeTaintsPolicy": {"enum": ["Honor", "Ignore"]},
        },
        "required": ["maxSkew", "topologyKey", "whenUnsatisfiable"],
        "additionalProperties": False,
    },
    "countOrShare": {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"},
        ]
    },
    "duration": {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"},
}
"""Schemas that a comment names by `$ref: "#/$defs/NAME"`."""


def values_schema(title: str, values: Iterable[Value], definitions: dict[str, Schema] | None = None) -> Schema:
    """Return the schema of a values file.

    Args:
        title: name of the chart.
        values: the values with their comments.
        definitions: further definitions that the comments name.
    """
    found = _properties(values)
    known = {**DEFINITIONS, **(definitions or {})}
    return {
        "$schema": DRAFT,
        "title": f"Values of the chart {title}",
        **found,
        "$defs": {name: known[name] for name in sorted(_named(found, known))},
    }


def _properties(values: Iterable[Value]) -> Schema:
    return {
        "type": "object",
        "properties": {value.path[-1]: _schema_of(value) for value in values},
        "additionalProperties": False,
    }


def _schema_of(value: Value) -> Schema:
    if value.children:
        return _properties(value.children)
    described = {"description": value.description}
    if "$ref" in value.keywords:
        # Draft 7 ignores what stands next to a reference.
        return {**described, "allOf": [value.keywords]}
    typed = {} if {"enum", "anyOf", "type"} & value.keywords.keys() else _type_of(value.default)
    return {**described, **typed, **value.keywords}


def _type_of(default: Any) -> Schema:
    match default:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
        case dict():
            return {"type": "object"}
        case _:
            raise ValueError(f"a default of type {type(default).__name__} needs the keyword type")


def _named(schema: Any, known: dict[str, Schema]) -> set[str]:
    """Return the names of the definitions that a schema refers to, and those that they refer to."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        match waiting.pop():
            case {"$ref": str(reference)}:
                name = reference.removeprefix("#/$defs/")
                if name not in found:
                    found.add(name)
                    waiting.append(known[name])
            case dict() as fields:
                waiting += fields.values()
            case list() as items:
                waiting += items
    return found
