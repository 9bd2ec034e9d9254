"""Generate the CustomResourceDefinition from the models: `python -m vllm_operator crd`."""

from __future__ import annotations

import json
from typing import Any

from vllm_operator.api.fields import CelRule, Model
from vllm_operator.api.names import GROUP, KIND, PLURAL, SERVER_NAME_LENGTH, SHORT_NAME, SINGULAR, VERSION
from vllm_operator.api.spec import Spec
from vllm_operator.api.status import Status

NAME_RULE = CelRule(
    f"self.metadata.name.size() <= {SERVER_NAME_LENGTH} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    f"metadata.name must have at most {SERVER_NAME_LENGTH} characters, start with a letter and hold only a-z, "
    "0-9 and '-', because the Service is named after it: choose a shorter or simpler name",
)

COLUMNS: tuple[tuple[str, str, str, int, str], ...] = (
    ("Model", "string", ".spec.model.uri", 0, "Location of the model"),
    ("Ready", "string", ".status.ready", 0, "Healthy replicas of the wanted ones, such as 2/3"),
    ("Phase", "string", ".status.phase", 0, "State of the server in one word"),
    ("Version", "string", ".status.version", 0, "vLLM version that the replicas report"),
    ("Endpoint", "string", ".status.endpoint", 1, "URL of the Service inside the cluster"),
    ("GPUs", "integer", ".spec.accelerator.count", 1, "Devices of one replica"),
    ("Image", "string", ".spec.image", 1, "Container image of vLLM"),
    ("Min", "integer", ".status.autoscaling.minReplicas", 1, "Fewest replicas of the autoscaler now"),
    ("Max", "integer", ".status.autoscaling.maxReplicas", 1, "Most replicas of the autoscaler now"),
    ("Next bounds", "string", ".status.autoscaling.next.time", 1, "When the schedule changes Min or Max"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since creation"),
    ("Message", "string", ".status.message", 0, "The most important problem, with its cause"),
)


def crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    names = resource_names(KIND, PLURAL, SINGULAR, SHORT_NAME)
    description = "One model, served by replicas of vLLM behind a Service."
    spec = with_defaults_described(model_schema(Spec))
    return custom_resource(names, COLUMNS, root_schema(description, spec, Status, NAME_RULE, required=["spec"]))


def resource_names(kind: str, plural: str, singular: str, short_name: str) -> dict[str, Any]:
    """Return the names of a kind, which `kubectl get all` shows."""
    return {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": singular,
        "shortNames": [short_name],
        "categories": ["all"],
    }


def custom_resource(
    names: dict[str, Any], columns: tuple[tuple[str, str, str, int, str], ...], schema: dict[str, Any]
) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a namespaced kind with replicas and a status."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [printer_column(*column) for column in columns],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def root_schema(
    description: str, spec: dict[str, Any], status: type[Model], name_rule: CelRule, required: list[str] | None = None
) -> dict[str, Any]:
    """Return the schema of a whole object; `required` names the fields that it must have."""
    text = {"type": "string"}
    return {
        "type": "object",
        "description": description,
        **({"required": required} if required else {}),
        "properties": {
            "apiVersion": text,
            "kind": text,
            "metadata": {"type": "object"},
            "spec": spec,
            # Flux calls a resource without a status current, even before its operator has reconciled it.
            "status": {**with_defaults_described(model_schema(status)), "default": {"observedGeneration": -1}},
        },
        "x-kubernetes-validations": [name_rule.as_schema()],
    }


def printer_column(name: str, kind: str, path: str, priority: int, description: str) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path, "description": description}
    # The API server stores no priority of 0; Argo CD would compare it with nothing, and report a difference for good.
    return {**column, "priority": priority} if priority else column


def model_schema(model: type[Model]) -> dict[str, Any]:
    """Return the structural schema of a model: references inlined, nullables and titles dropped."""
    schema = model.model_json_schema(by_alias=True)
    return _Inliner(schema.pop("$defs", {})).structural(schema)


def with_defaults_described(node: Any) -> Any:
    """Return a schema whose descriptions end with the default: `kubectl explain` does not show defaults."""
    if isinstance(node, list):
        return [with_defaults_described(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: with_defaults_described(value) for key, value in node.items()}
    default = node.get("default")
    if isinstance(node.get("description"), str) and isinstance(default, str | int | float) and default != "":
        result["description"] = f"{node['description']} Default: {as_yaml(default)}."
    return result


def as_yaml(value: str | float) -> str:
    """Return a scalar as YAML spells it: `true` for True, and a text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


class _Inliner:
    """Turn pydantic's JSON schema into a structural schema, as Kubernetes requires it."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.definitions = definitions

    def structural(self, node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            target = self.structural(self.definitions[node["$ref"].rsplit("/", 1)[-1]])
            return target | self._keywords({key: value for key, value in node.items() if key != "$ref"})
        if "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return self.structural(_only_variant(node["anyOf"])) | self._keywords(rest)
        return self._keywords(node)

    def _keywords(self, node: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for keyword, value in node.items():
            result.update(self._keyword(keyword, value))
        return result

    def _keyword(self, keyword: str, value: Any) -> dict[str, Any]:
        match keyword:
            case "title" | "propertyNames":
                return {}
            case "default" if value is None or value == []:
                return {}
            case "const":
                return {"enum": [value]}
            case "exclusiveMinimum" | "exclusiveMaximum":
                return {keyword.removeprefix("exclusive").lower(): value, keyword: True}
            case "properties":
                return {keyword: {name: self.structural(child) for name, child in value.items()}}
            case "additionalProperties":
                return {} if isinstance(value, bool) else {keyword: self.structural(value)}
            case "items":
                return {keyword: self.structural(value)}
        return {keyword: value}


def _only_variant(variants: list[dict[str, Any]]) -> dict[str, Any]:
    solid = [variant for variant in variants if variant != {"type": "null"}]
    if len(solid) != 1:
        raise ValueError(f"a structural schema cannot hold the union {solid}")
    return solid[0]
