"""Apply a structural schema as the API server does: unknown fields, defaults, nulls, then types and bounds.

The order and the reasons follow apiextensions-apiserver (`pkg/apiserver/schema` and `pkg/apiserver/validation`).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic_core import SchemaValidator, ValidationError, core_schema

from vllm_operator.offline.refusal import Refusal, Step, as_text, refusal

Schema = Mapping[str, Any]
Path = tuple[Step, ...]

LARGEST_EXACT_FLOAT = 2**53 - 1
"""Largest float that Kubernetes reads as a whole number."""

_LARGEST_INT64 = 2**63 - 1


def unknown_fields(value: Any, schema: Schema, path: Path = ()) -> Iterator[Refusal]:
    """Refuse fields that the schema does not have; kubectl asks for this check, others may lose the fields silently."""
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema["items"], (*path, index))
    elif isinstance(value, Mapping) and not _is_open(schema):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            below = properties.get(name, others)
            if below is None:
                yield refusal((*path, name), "UnknownField", _unknown_field(name, properties, path))
            else:
                yield from unknown_fields(item, below, (*path, name))


def _is_open(schema: Schema) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields")) or schema.get("type") != "object"


def _unknown_field(name: str, known: Mapping[str, Schema], path: Path) -> str:
    near = get_close_matches(name[:80], list(known), n=1)
    deeper = [place for place, below in known.items() if name in below.get("properties", {})]
    if deeper:
        return f"unknown field: write it as {as_text((*path, deeper[0], name))}"
    place = as_text(path) or "the manifest"
    remedy = f"write {near[0]}" if near else f"remove it: {place} has {', '.join(sorted(known)) or 'no fields'}"
    return f"unknown field: {remedy}"


def with_defaults(value: Any, schema: Schema) -> Any:
    """Return a value as the API server stores it: with defaults, without nulls where null is no value.

    Whole numbers in the spelling of a float become integers, as Go writes them.
    """
    if isinstance(value, list):
        below = schema.get("items", {})
        return [with_defaults(_default_for_null(item, below), below) for item in value]
    if isinstance(value, Mapping):
        return _map_with_defaults(value, schema)
    if schema.get("type") == "integer" or schema.get("x-kubernetes-int-or-string"):
        return int(value) if _is_whole_float(value) else value
    return value


def _map_with_defaults(value: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    result = dict(value)
    for name, below in properties.items():
        if result.get(name) is None and "default" in below:
            result[name] = copy.deepcopy(below["default"])
    for name in list(result):
        known = properties.get(name, others)
        if known is None:
            continue
        if result[name] is None:
            del result[name]
        else:
            result[name] = with_defaults(result[name], known)
    return result


def _default_for_null(value: Any, schema: Schema) -> Any:
    return copy.deepcopy(schema.get("default")) if value is None else value


def _is_whole_float(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT_FLOAT


def schema_refusals(value: Any, schema: Schema, path: Path = ()) -> Iterator[Refusal]:
    """Refuse what the schema does not allow in a value with its defaults."""
    if wrong := _type_error(value, schema):
        yield refusal(path, "FieldValueTypeInvalid", wrong)
        return
    if "enum" in schema and not any(_equal(value, allowed) for allowed in schema["enum"]):
        shown = ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in schema["enum"])
        yield refusal(path, "FieldValueNotSupported", f"{_shown(value)} is not supported: use one of {shown}")
    if isinstance(value, str):
        yield from _text_refusals(value, schema, path)
    elif isinstance(value, list):
        yield from _list_refusals(value, schema, path)
    elif isinstance(value, Mapping):
        yield from _map_refusals(value, schema, path)
    elif not isinstance(value, bool):
        yield from _number_refusals(value, schema, path)


def _type_error(value: Any, schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        fits, wanted = isinstance(value, str) or _is_integer(value), "integer or string"
    else:
        wanted = schema.get("type", "")
        fits = _fits_type(value, wanted)
    return "" if fits else f"must be of type {wanted}, and is {_kind(value)} {_shown(value)}: write {_article(wanted)}"


def _article(wanted: str) -> str:
    return {"array": "a list", "object": "a map", "integer": "a whole number", "boolean": "true or false"}.get(
        wanted, f"a {wanted}" if wanted[0] not in "aeiou" else f"an {wanted}"
    )


def _fits_type(value: Any, wanted: str) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return _is_integer(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, Mapping)
    return True


def _is_integer(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return (isinstance(value, int) and abs(value) <= _LARGEST_INT64) or _is_whole_float(value)


def _text_refusals(value: str, schema: Schema, path: Path) -> Iterator[Refusal]:
    length, pattern = len(value), schema.get("pattern")
    if length > schema.get("maxLength", length):
        yield refusal(
            path, "FieldValueTooLong", f"has {length} characters, more than {schema['maxLength']}: shorten it"
        )
    if length < schema.get("minLength", 0):
        yield refusal(
            path, "FieldValueInvalid", f"has {length} characters, fewer than {schema['minLength']}: write more"
        )
    if pattern is not None and not _matches(pattern, value):
        yield refusal(path, "FieldValueInvalid", f"{_shown(value)} must match {pattern}")


def _matches(pattern: str, value: str) -> bool:
    try:
        _validator(pattern).validate_python(value)
    except ValidationError:
        return False
    return True


@functools.cache
def _validator(pattern: str) -> SchemaValidator:
    """Return a check by Rust's regular expressions: `$` is the end of the text there, as it is in Go."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


def _number_refusals(value: Any, schema: Schema, path: Path) -> Iterator[Refusal]:
    least, most = schema.get("minimum", value), schema.get("maximum", value)
    if value < least or (value == least and schema.get("exclusiveMinimum") is True):
        bound = "more than" if schema.get("exclusiveMinimum") else "at least"
        yield refusal(path, "FieldValueInvalid", f"{value} is too small: write {bound} {least}")
    if value > most or (value == most and schema.get("exclusiveMaximum") is True):
        bound = "less than" if schema.get("exclusiveMaximum") else "at most"
        yield refusal(path, "FieldValueInvalid", f"{value} is too large: write {bound} {most}")


def _list_refusals(value: Sequence[Any], schema: Schema, path: Path) -> Iterator[Refusal]:
    length = len(value)
    if length > schema.get("maxItems", length):
        yield refusal(path, "FieldValueTooMany", f"has {length} items, more than {schema['maxItems']}: remove some")
    if length < schema.get("minItems", 0):
        yield refusal(path, "FieldValueInvalid", f"has {length} items, fewer than {schema['minItems']}: add some")
    for index, item in enumerate(value):
        yield from schema_refusals(item, schema.get("items", {}), (*path, index))
    if schema.get("x-kubernetes-list-type") == "map":
        yield from _duplicates(value, schema["x-kubernetes-list-map-keys"], path)


def _duplicates(value: Sequence[Any], keys: Sequence[str], path: Path) -> Iterator[Refusal]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        identity = repr([item.get(key) for key in keys]) if isinstance(item, Mapping) else ""
        if identity and identity in seen:
            shown = ", ".join(f"{key}: {item.get(key)}" for key in keys)
            yield refusal((*path, index), "FieldValueDuplicate", f"{shown} is listed twice: remove one")
        seen.add(identity)


def _map_refusals(value: Mapping[str, Any], schema: Schema, path: Path) -> Iterator[Refusal]:
    size, properties, others = len(value), schema.get("properties", {}), schema.get("additionalProperties")
    if size > schema.get("maxProperties", size):
        yield refusal(path, "FieldValueTooMany", f"has {size} keys, more than {schema['maxProperties']}: remove some")
    for name in schema.get("required", ()):
        if name not in value:
            yield refusal((*path, name), "FieldValueRequired", "is required: add it")
    for name, item in value.items():
        below = properties.get(name, others)
        if below is not None:
            yield from schema_refusals(item, below, (*path, name))


def _equal(value: Any, allowed: Any) -> bool:
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", str: "string", list: "array", dict: "object", type(None): "null"}
    return kinds.get(type(value), "number")


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else "" if isinstance(value, list | dict | None) else str(value)
    return text if len(text) <= 80 else f'{text[:76]}..."'
