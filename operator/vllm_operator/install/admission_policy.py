"""The ValidatingAdmissionPolicy that refuses in `podTemplate` what the restricted mode refuses.

CEL is made from the tables of `validation/pod_template.py`, so that API server and operator judge alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vllm_operator.api.names import GROUP, PLURAL, VERSION
from vllm_operator.validation.allowed_fields import (
    Anything,
    Each,
    Fields,
    Includes,
    Node,
    NoKeyWith,
    NotRoot,
    OneOf,
    Only,
    requirement,
)
from vllm_operator.validation.pod_template import FREE, JUDGED, NAMESPACE_LABEL, REMEDY

Wrap = Callable[[str], str]
"""Puts an expression about a part of the object into one about the whole."""

SPLIT_ABOVE = 4
"""Rules that an object may have in one expression. One with more gets an expression, and a message, for each field."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"


def pod_template_policy(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """Return the policy.

    It judges a new server, and an update that changes a judged field. All other updates of a server that is older than
    the policy pass, so that it can be scaled, labelled and deleted.
    """
    changed = " || ".join(f"object.?spec{_optional(path)} != oldObject.?spec{_optional(path)}" for path in JUDGED)
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [PLURAL],
                    }
                ]
            },
            "matchConditions": [
                {"name": "judged-field-changed", "expression": f"request.operation == 'CREATE' || {changed}"}
            ],
            "variables": [{"name": _variable(path), "expression": _value(path)} for path in JUDGED],
            "validations": [rule for path, node in JUDGED.items() for rule in _validations_of(path, node)],
        },
    }


def pod_template_binding(name: str, labels: dict[str, str], served: tuple[str, ...]) -> dict[str, Any]:
    """Return the binding of the policy: in all served namespaces but those that are labelled free.

    Args:
        name: name of policy and binding.
        labels: labels of the binding.
        served: namespaces that the operator serves; empty for all.
    """
    expressions: list[dict[str, Any]] = [{"key": NAMESPACE_LABEL, "operator": "NotIn", "values": [FREE]}]
    if served:
        expressions.append({"key": NAMESPACE_NAME, "operator": "In", "values": list(served)})
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchExpressions": expressions}},
        },
    }


def _optional(path: str) -> str:
    return "".join(f".?{step}" for step in path.split("."))


def _validations_of(path: str, node: Node) -> Iterator[dict[str, str]]:
    value = f"variables.{_variable(path)}"
    wrap = _unless(lambda inner: inner, f"{value} == null")
    for expression, message in _rules(node, value, f"spec.{path}", wrap, 0):
        yield {"expression": expression, "message": f"{message}: {REMEDY}", "reason": "Forbidden"}


def _variable(path: str) -> str:
    return path.rpartition(".")[2]


def _value(path: str) -> str:
    """Return the value of a judged field without a static type, whose schema has no fields; null where it is unset."""
    steps = path.split(".")
    present = " && ".join(f"has(object.spec.{'.'.join(steps[: end + 1])})" for end in range(len(steps)))
    return f"{present} ? dyn(object.spec.{path}) : dyn(null)"


def _rules(node: Node, value: str, path: str, wrap: Wrap, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a node with their messages: one for each part of a large object, else one for all."""
    if isinstance(node, Fields) and (depth == 0 or len(_constrained(node)) > SPLIT_ABOVE):
        yield wrap(_own_test(node, value, depth)), f"{path}: {_summary(node)}"
        for name, child in _constrained(node).items():
            inside = _unless(wrap, _absent(node, name, value))
            yield from _rules(child, f"{value}.{name}", f"{path}.{name}", inside, depth + 1)
    elif isinstance(node, Each):
        item = f"v{depth}"
        yield wrap(f"type({value}) == list"), f"{path}: {requirement(node)}"
        for chosen, exempt in _item_nodes(node, item):
            inside = _unless(_all_items(wrap, value, item), exempt)
            yield from _rules(chosen, item, f"{path}[]", inside, depth + 1)
    else:
        yield wrap(_test(node, value, depth)), f"{path}: {_summary(node)}"


def _constrained(node: Fields) -> dict[str, Node]:
    return {name: child for name, child in node.known.items() if not isinstance(child, Anything)}


def _summary(node: Node) -> str:
    """Return what a node allows, with the names of the fields, for a message."""
    match node:
        case Fields(known, required, forbidden):
            fields = f"without {', '.join(forbidden)}" if forbidden else f"with no fields but {', '.join(known)}"
            needed = f", and with {', '.join(required)}" if required else ""
            limits = [f"; {name}: {_summary(child)}" for name, child in _constrained(node).items()]
            short = "".join(limits) if len(limits) <= SPLIT_ABOVE else ""
            return f"must be an object {fields}{needed}{short}"
        case _:
            return requirement(node)


def _item_nodes(node: Each, item: str) -> Iterator[tuple[Node, str]]:
    """Yield the parts of an item's node, each with the condition that exempts an item from it, empty for none.

    What named and other items have in common is there once.
    """
    if not (isinstance(node.named, Fields) and isinstance(node.other, Fields)):
        yield node.other, ""
        return
    is_named = f"'name' in {item} && {item}.name == '{node.name}'"
    named, other = node.named, node.other
    same = {name: child for name, child in other.known.items() if named.known.get(name) == child}
    differing = [name for name in other.known if name not in same]
    yield Fields({**same, **dict.fromkeys(differing, Anything())}), ""
    # A list of forbidden fields leaves the fields open that the first part judges.
    yield (
        Fields({name: named.known[name] for name in differing}, named.required, ("$patch",), named.kept),
        f"!({is_named})",
    )
    yield Fields({name: other.known[name] for name in differing}, other.required, ("$patch",), other.kept), is_named


def _all_items(wrap: Wrap, value: str, item: str) -> Wrap:
    return lambda inner: wrap(f"type({value}) != list || {value}.all({item}, {inner})")


def _unless(wrap: Wrap, exempt: str) -> Wrap:
    return (lambda inner: wrap(f"{exempt} || ({inner})")) if exempt else wrap


def _absent(node: Fields, name: str, value: str) -> str:
    return f"!has({value}.{name})" + (f" || {value}.{name} == null" if node.may_be_null(name) else "")


def _own_test(node: Fields, value: str, depth: int) -> str:
    """Return the test of an object without that of its fields."""
    key = f"k{depth}"
    tests = [f"type({value}) == map"]
    if node.forbidden:
        tests += [f"!({_literal(name)} in {value})" for name in node.forbidden]
    else:
        tests.append(f"{value}.all({key}, {key} in {_list(tuple(node.known))})")
    return " && ".join([*tests, *(f"has({value}.{name})" for name in node.required)])


def _test(node: Node, value: str, depth: int) -> str:
    """Return one expression for a node with all its parts."""
    match node:
        case Anything():
            return "true"
        case Only(values):
            return f"{value} in {_list(values)}"
        case OneOf(lists):
            return f"{value} in [{', '.join(_list(one) for one in lists)}]"
        case NotRoot():
            return f"type({value}) == int && {value} > 0"
        case Includes(item):
            return f"type({value}) == list && {_literal(item)} in {value}"
        case NoKeyWith(prefix):
            return f"type({value}) == map && !{value}.exists(k{depth}, k{depth}.startsWith({_literal(prefix)}))"
        case Each(other):
            return f"type({value}) == list && {value}.all(v{depth}, {_test(other, f'v{depth}', depth + 1)})"
        case Fields():
            parts = [
                f"({_absent(node, name, value)} || {_test(child, f'{value}.{name}', depth + 1)})"
                for name, child in _constrained(node).items()
            ]
            return " && ".join([_own_test(node, value, depth), *parts])


def _list(values: tuple[bool, ...] | tuple[str, ...] | tuple[int, ...]) -> str:
    return f"[{', '.join(_literal(value) for value in values)}]"


def _literal(value: bool | str | int) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()
