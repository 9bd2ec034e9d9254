"""Building blocks of the models: the base class, and annotated types with their bounds.

Every string, list and map has a bound: the API server estimates the cost of CEL rules from it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema


class CelRule:
    """A CEL rule of the generated CRD, attached to a field with `Annotated` or to a model as `cel_rules`.

    Args:
        rule: the expression; `self` is the annotated value.
        message: the cause, and what to do.
        field_path: path below `self` that the API server names, such as `.minReplicas`.
        message_expression: CEL expression that computes the message.
    """

    def __init__(
        self, rule: str, message: str, field_path: str | None = None, message_expression: str | None = None
    ) -> None:
        self.rule = rule
        self.message = message
        self.field_path = field_path
        self.message_expression = message_expression

    def as_schema(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message}
        if self.message_expression:
            entry["messageExpression"] = self.message_expression
        if self.field_path:
            entry["fieldPath"] = self.field_path
        return entry

    def __get_pydantic_json_schema__(
        self, source: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler(source)
        schema.setdefault("x-kubernetes-validations", []).append(self.as_schema())
        return schema


class Model(BaseModel):
    """A frozen part of the resource; a snake_case name in Python is camelCase in YAML."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = ()
    """Rules over several fields of this model, for the CRD."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, source: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        reference = handler(source)
        schema = handler.resolve_ref_schema(reference)
        if cls.cel_rules:
            schema["x-kubernetes-validations"] = [rule.as_schema() for rule in cls.cel_rules]
        for name, field in cls.model_fields.items():
            if isinstance(field.default_factory, type) and issubclass(field.default_factory, Model):
                # Kubernetes applies the defaults of nested fields only where the object itself exists.
                schema["properties"][field.alias or name]["default"] = {}
        return reference


class ListMap:
    """Mark a list whose items merge by their keys when a resource is applied server-side."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def __get_pydantic_json_schema__(
        self, source: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(source), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.keys)}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._without_duplicates, handler(source))

    def _without_duplicates(self, items: list[Any]) -> list[Any]:
        keys = ["/".join(getattr(item, key) for key in self.keys) for item in items]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"{twice!r} is listed twice: remove one")
        return items


QUANTITY_PATTERN = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,3})?$"
_AMOUNT = QUANTITY_PATTERN.replace("[+-]?(", "[+]?(", 1)

_INT_OR_STRING = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
LARGEST_INT32 = 2**31 - 1
LARGEST_INT64 = 2**63 - 1

Quantity = Annotated[
    Annotated[int, Field(ge=0, le=LARGEST_INT64)] | Annotated[str, Field(pattern=_AMOUNT, max_length=64)],
    WithJsonSchema({**_INT_OR_STRING, "pattern": _AMOUNT, "maxLength": 64, "minimum": 0}),
]
"""A Kubernetes quantity such as `16Gi` or `2`; none of a server is negative."""


def _number_or(pattern: str) -> WithJsonSchema:
    bounds = {"pattern": pattern, "maxLength": 8, "minimum": 0, "maximum": LARGEST_INT32}
    return WithJsonSchema({**_INT_OR_STRING, **bounds})


_PERCENT, _FRACTION = r"^[0-9]+%$", r"^(100|[0-9]{1,2})%$"
_PODS = Annotated[int, Field(ge=0, le=LARGEST_INT32)]

IntOrPercent = Annotated[_PODS | Annotated[str, Field(pattern=_PERCENT, max_length=8)], _number_or(_PERCENT)]
"""A number of pods or a percentage of them."""

IntOrFraction = Annotated[_PODS | Annotated[str, Field(pattern=_FRACTION, max_length=8)], _number_or(_FRACTION)]
"""A number of pods or a percentage of them, at most all."""

FreeObject = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""An object that the operator passes on unchanged; Kubernetes or vLLM validates it."""

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
QUALIFIED = rf"({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
"""Pattern of a label key, annotation key or resource name: at most 63 characters after an optional domain."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}$")]
"""Name of an object that the spec refers to."""
ObjectNameOrNone = Annotated[str, Field(max_length=253, pattern=rf"^({_SUBDOMAIN})?$")]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
"""A key of a Secret or ConfigMap."""
VariableName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-_a-zA-Z][-._a-zA-Z0-9]*$")]
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=rf"^{QUALIFIED}$")]
LabelKeyOrNone = Annotated[str, Field(max_length=317, pattern=rf"^({QUALIFIED})?$")]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
ShortText = Annotated[str, Field(max_length=1024)]
Text = Annotated[str, Field(max_length=65536)]

# `validation` checks the keys of maps: a schema cannot.
Labels = Annotated[dict[str, LabelValue], Field(max_length=64)]
AlertLabels = Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)]
Annotations = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)]
Quantities = Annotated[dict[str, Quantity], Field(max_length=32)]
