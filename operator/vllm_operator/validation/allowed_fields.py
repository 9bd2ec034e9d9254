"""Describe which fields and values an open object may have: one table for the operator's check and for CEL.

Each node of a table is an allowlist. A field that a later Kubernetes adds is refused until it is listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_QUOTED = 80
"""Characters of a key that a message repeats."""


@dataclass(frozen=True)
class Anything:
    """Allow every value."""


@dataclass(frozen=True)
class Only:
    """Allow these values of one type."""

    values: tuple[bool, ...] | tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True)
class OneOf:
    """Allow these lists of strings, each as a whole."""

    values: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class NotRoot:
    """Allow a user ID above 0."""


@dataclass(frozen=True)
class Includes:
    """Allow a list that contains a value."""

    value: str


@dataclass(frozen=True)
class NoKeyWith:
    """Allow an object none of whose keys starts with a prefix."""

    prefix: str


@dataclass(frozen=True)
class Fields:
    """Allow an object with these fields.

    Attributes:
        known: allowed fields, and what each may hold.
        required: fields that must be there.
        forbidden: fields that must be absent; every other field is then allowed. Without any, only known ones are.
        kept: fields that must not be null. In a patch, null removes what stands below; elsewhere that takes no right.
    """

    known: Mapping[str, Node] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def may_be_null(self, name: str) -> bool:
        """Return whether null is allowed as the value of a known field."""
        return name not in self.kept and name not in self.required


@dataclass(frozen=True)
class Each:
    """Allow a list whose items are allowed: those with this name by `named`, all others by `other`."""

    other: Node
    name: str = ""
    named: Node = Anything()


Node = Anything | Only | OneOf | NotRoot | Includes | NoKeyWith | Fields | Each
ANYTHING = Anything()


@dataclass(frozen=True)
class Violation:
    """A place of an object that is not allowed.

    Attributes:
        path: such as `spec.podTemplate.spec.hostNetwork`.
        rule: what is allowed there.
    """

    path: str
    rule: str


def requirement(node: Node) -> str:
    """Return what a node allows, for a message."""
    match node:
        case Only(values):
            return f"only {' or '.join(_as_yaml(value) for value in values)} is allowed"
        case OneOf(lists):
            return f"only {' or '.join('[' + ', '.join(one) + ']' for one in lists)} is allowed"
        case NotRoot():
            return "only a user ID above 0 is allowed"
        case Includes(value):
            return f"the list must contain {value}"
        case NoKeyWith(prefix):
            return f"keys that start with {prefix} are not allowed"
        case Each():
            return "must be a list"
        case _:
            return "must be an object"


def _as_yaml(value: bool | str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or '""'


NOT_ALLOWED = "is not allowed"
MISSING = "is missing"


def violations(node: Node, value: Any, path: str) -> Iterator[Violation]:
    """Yield every place of a value that its node does not allow; the table bounds the depth."""
    match node:
        case Fields():
            yield from _field_violations(node, value, path)
        case Each():
            yield from _item_violations(node, value, path)
        case _ if not _is_allowed(node, value):
            yield Violation(path, requirement(node))


def _is_allowed(node: Node, value: Any) -> bool:
    match node:
        case Only(values):
            # In Python, 0 equals False.
            return any(type(value) is type(allowed) and value == allowed for allowed in values)
        case OneOf(lists):
            return isinstance(value, list) and tuple(value) in lists
        case NotRoot():
            return type(value) is int and value > 0
        case Includes(item):
            return isinstance(value, list) and item in value
        case NoKeyWith(prefix):
            return isinstance(value, Mapping) and not _has_key_with(prefix, value)
        case _:
            return True


def _has_key_with(prefix: str, value: Mapping[str, Any]) -> bool:
    return any(str(key).startswith(prefix) for key in value)


def _field_violations(node: Fields, value: Any, path: str) -> Iterator[Violation]:
    if not isinstance(value, Mapping):
        yield Violation(path, requirement(node))
        return
    for key, item in value.items():
        where = f"{path}.{str(key)[:MAX_QUOTED]}"
        if key in node.forbidden or (key not in node.known and not node.forbidden):
            yield Violation(where, NOT_ALLOWED)
        elif key in node.known and not (item is None and node.may_be_null(key)):
            yield from violations(node.known[key], item, where)
    yield from (Violation(f"{path}.{key}", MISSING) for key in node.required if key not in value)


def _item_violations(node: Each, value: Any, path: str) -> Iterator[Violation]:
    if not isinstance(value, list):
        yield Violation(path, requirement(node))
        return
    for position, item in enumerate(value):
        is_named = bool(node.name) and isinstance(item, Mapping) and item.get("name") == node.name
        yield from violations(node.named if is_named else node.other, item, f"{path}[{position}]")
