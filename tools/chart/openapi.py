"""JSON Schemas for kubeconform from the OpenAPI document of a real API server, CRDs included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

DEFINITIONS = "_definitions.json"
LOCATION = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json"
"""Name of a schema, as kubeconform's option -schema-location takes it; the group of core kinds is `v1`."""
INT_OR_STRING: Schema = {"type": ["integer", "string"]}
QUANTITY: Schema = {"type": ["number", "string"]}
SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": QUANTITY,
}
"""Types whose JSON differs from what OpenAPI says."""


def write_schemas(document: dict[str, Any], folder: Path) -> int:
    """Write one strict schema for each kind of an OpenAPI v2 document; return their number."""
    definitions = {name: SPECIAL.get(name) or _strict(schema) for name, schema in document["definitions"].items()}
    (folder / DEFINITIONS).write_text(json.dumps({"definitions": definitions}))
    count = 0
    for name, schema in document["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            group = kind["group"] or kind["version"]
            path = folder / f"{kind['kind'].lower()}-{group}-{kind['version']}.json"
            path.write_text(json.dumps({"$ref": f"{DEFINITIONS}#/definitions/{name}"}))
            count += 1
    return count


def _strict(schema: Any) -> Any:
    """Return a schema that refuses unknown fields, and refers to the file of the definitions."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _strict(value) for name, value in schema.items()}
    if isinstance(found.get("$ref"), str):
        found["$ref"] = found["$ref"].replace("#/definitions/", f"{DEFINITIONS}#/definitions/")
    # `is True`: the schema of CRDs has properties of these names.
    if found.get("x-kubernetes-int-or-string") is True:
        found |= INT_OR_STRING
    is_object = isinstance(found.get("properties"), dict) and found.get("type", "object") == "object"
    if is_object and found.get("x-kubernetes-preserve-unknown-fields") is not True:
        found.setdefault("additionalProperties", False)
    return found
