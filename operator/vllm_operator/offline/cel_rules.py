"""Evaluate the CEL rules of the CRD (`x-kubernetes-validations`), if a CEL library is installed.

The library follows the CEL specification. Kubernetes adds functions to it; of these the rules of this CRD use `trim`,
which is defined here. Rules that compare with the stored object (`oldSelf`) cannot be judged without it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from vllm_operator.offline.refusal import Refusal, Step, refusal

RULES = "x-kubernetes-validations"
INSTALL = "pip install 'vllm-operator[render]'"
_WHITE_SPACE = "".join(map(chr, (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029)))
_WHITE_SPACE += "\u202f\u205f\u3000"
"""Characters that Go's `strings.TrimSpace` removes."""

Path = tuple[Step, ...]


class NoCelLibraryError(Exception):
    """No CEL library is installed."""


def rule_refusals(value: Any, schema: Mapping[str, Any], path: Path = ()) -> Iterator[Refusal]:
    """Return the rules that a value with its defaults breaks; transition rules are skipped.

    Raises:
        NoCelLibraryError: there are rules and no library to evaluate them.
    """
    for rule in schema.get(RULES, ()):
        if not is_transition(rule) and (broken := _broken(rule, value, path)):
            yield broken
    if isinstance(value, Mapping):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name, item in value.items():
            yield from rule_refusals(item, properties.get(name, others), (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from rule_refusals(item, schema.get("items", {}), (*path, index))


def is_transition(rule: Mapping[str, Any]) -> bool:
    """Return whether a rule compares an object with the stored one."""
    return "oldSelf" in rule["rule"]


def has_transition_rules(schema: Mapping[str, Any]) -> bool:
    """Return whether any rule of a schema compares an object with the stored one."""
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    own = any(is_transition(rule) for rule in schema.get(RULES, ()))
    return own or any(has_transition_rules(one) for one in below if isinstance(one, Mapping))


def _broken(rule: Mapping[str, Any], value: Any, path: Path) -> Refusal | None:
    place = (*path, *rule["fieldPath"].removeprefix(".").split(".")) if "fieldPath" in rule else path
    try:
        if _evaluate(rule["rule"], value) is True:
            return None
        message = _message(rule, value)
    except NoCelLibraryError:
        raise
    except Exception as error:  # The library has no common base of its errors.
        message = f"{rule['message']} (the rule ended with an error: {error})"
    return refusal(place, "FieldValueInvalid", message)


def _message(rule: Mapping[str, Any], value: Any) -> str:
    computed = _evaluate(rule["messageExpression"], value) if "messageExpression" in rule else None
    return str(computed or rule["message"])


def _evaluate(expression: str, value: Any) -> Any:
    program, new_context = _program(expression)
    context = new_context()
    context.add_variable("self", value)
    context.add_function("trim", _trim)
    return program.execute(context)


def _trim(text: str) -> str:
    return text.strip(_WHITE_SPACE)


@functools.cache
def _program(expression: str) -> tuple[Any, Any]:
    try:
        import cel
    except ImportError as error:
        raise NoCelLibraryError from error
    return cel.compile(expression), cel.Context
