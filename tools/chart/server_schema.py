"""The schema of a server in the values of the chart `vllm-server`, made from the CRD.

JSON Schema has no CEL: the rules stay with the API server. An integer or string of Kubernetes is both types. An
unknown field is refused, where the CRD does not keep unknown fields.
"""

from __future__ import annotations

from typing import Any

from tools.chart.values import Schema

KEPT = frozenset(
    {
        "type",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "maxProperties",
        "uniqueItems",
        "description",
    }
)
"""Keywords of structural schemas that mean the same in JSON Schema draft 7."""

SERVER: Schema = {
    "type": "object",
    "properties": {
        "enabled": {"type": "boolean", "description": "Create the server."},
        "namespace": {"$ref": "#/$defs/namespace"},
        "labels": {"$ref": "#/$defs/labels"},
        "annotations": {"$ref": "#/$defs/annotations"},
        "spec": {"$ref": "#/$defs/spec"},
    },
    "additionalProperties": False,
}
"""One entry of `servers`."""


def server_definitions(crd: dict[str, Any]) -> dict[str, Schema]:
    """Return the definitions `spec`, of one server or of what several servers share, and `server`, with its metadata.

    A required field of a spec may be missing, because it can come from the shared one: the template checks the model,
    the API server the others. Within a list nothing is shared, so there it is required.
    """
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return {"spec": _converted(properties["spec"], in_list=False), "server": SERVER}


def _converted(schema: dict[str, Any], in_list: bool) -> Schema:
    found = {name: value for name, value in schema.items() if name in KEPT}
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    if "exclusiveMinimum" in schema:
        found["exclusiveMinimum"] = found.pop("minimum")
    if "items" in schema:
        found["items"] = _converted(schema["items"], in_list=True)
    if "properties" in schema:
        found["properties"] = {name: _converted(child, in_list) for name, child in schema["properties"].items()}
        found["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        if in_list and "required" in schema:
            found["required"] = schema["required"]
    elif isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = _converted(schema["additionalProperties"], in_list)
    return found
