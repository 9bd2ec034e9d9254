"""Checks of objects by the published schemas of clouds: botocore's service models, Google's discovery documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import googleapiclient.discovery_cache
from botocore.validate import ParamValidator


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def aws_errors(service: str, operation: str, parameters: dict[str, Any]) -> list[str]:
    """Return what AWS's own client refuses in a call, and the values that are in no enum."""
    shape = _model(service).operation_model(operation).input_shape
    report = ParamValidator().validate(parameters, shape)
    return [*([report.generate_report()] if report.has_errors() else []), *_enum_errors(parameters, shape, "")]


def _enum_errors(value: Any, shape: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for name, item in value.items():
            yield from _enum_errors(item, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            yield from _enum_errors(item, shape.member, path)
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _text_errors(key, shape.key, path)
            yield from _enum_errors(item, shape.value, f"{path}.{key}")
    elif shape.type_name == "string":
        yield from _text_errors(value, shape, path)


def _text_errors(value: str, shape: Any, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{path}: {value} is none of {shape.enum}"
    pattern = shape.metadata.get("pattern", "").replace(r"\p{L}\p{Z}\p{N}", r"\w\s")
    # Patterns with surrogates or classes are Java's, and Python cannot read them.
    if pattern and not any(part in pattern for part in (r"\uD", r"\p")) and not re.search(pattern, value):
        yield f"{path}: {value} does not match {pattern}"
    longest = shape.metadata.get("max")
    if longest is not None and len(value) > longest:
        yield f"{path}: longer than {longest}"


@cache
def _discovery(name: str) -> dict[str, Any]:
    folder = Path(googleapiclient.discovery_cache.__file__).parent / "documents"
    document: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return document


def google_errors(document: str, schema: str, value: Any) -> list[str]:
    """Return fields and values that a discovery document such as `run.v1` does not have."""
    return list(_google(_discovery(document)["schemas"], {"$ref": schema}, value, schema))


def _google(schemas: dict[str, Any], schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema.get("type")
    if kind == "object":
        if not isinstance(value, dict):
            yield f"{path}: no object: {value!r}"
            return
        for name, item in value.items():
            below = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if below is None:
                yield f"{path}.{name}: unknown field"
            else:
                yield from _google(schemas, below, item, f"{path}.{name}")
    elif kind == "array":
        for item in value if isinstance(value, list) else [f"no list: {value!r}"]:
            yield from _google(schemas, schema["items"], item, path)
    elif not _fits(kind, schema, value):
        yield f"{path}: {value!r} is no {kind} {schema.get('enum', '')}"


def _fits(kind: Any, schema: dict[str, Any], value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str) and ("enum" not in schema or value in schema["enum"])
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float)
    if kind == "boolean":
        return isinstance(value, bool)
    return kind == "any"
