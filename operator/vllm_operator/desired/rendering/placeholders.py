"""Put values into a manifest after YAML is parsed, so that YAML never interprets them.

A rendered template has a placeholder `!v 0`, `!v 1`, ... for each expression; the values replace them after parsing.
Quotes, newlines, braces or `on` in a value therefore do no harm. The text is the same for all servers, so that it is
parsed once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import yaml

from vllm_operator.errors import TemplateError

TAG = "!v"
PARSED_TEMPLATES = 256
"""Parsed texts that are kept: one for each template, and one for each number of iterations of its loops."""


SCALARS = (str, int, float, type(None))
LISTS = (list, tuple)
MAPS = (dict, Mapping)
"""The concrete type comes first: a test for an abstract one costs ten times as much."""


class Placeholders:
    """The values of one rendering, in the order of their placeholders."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: object) -> str:
        """Store a value, and return the text of its placeholder."""
        self.values.append(plain_value(value))
        return f"{TAG} {len(self.values) - 1}"


def plain_value(value: object) -> Any:
    """Return a value as dictionaries, lists and scalars, without keys whose value is None: they are unset.

    Raises:
        TemplateError: a value of a type that no manifest holds.
    """
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, LISTS):
        return [plain_value(item) for item in value]
    if isinstance(value, MAPS):
        return {str(key): plain_value(item) for key, item in value.items() if item is not None}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((name, getattr(value, name)) for name in _fields(type(value)))
        return {name: plain_value(item) for name, item in items if item is not None}
    raise TemplateError(f"a template cannot show a {type(value).__name__}")


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


class _Constant:
    """A part of a parsed template without placeholders: the same in each manifest."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Placeholder(int):
    """The index of a value, in its place in a parsed template."""


class _StrictLoader(yaml.CSafeLoader):
    """A loader that reads placeholders, and refuses equal keys, of which PyYAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            names = Counter(str(key.value) for key, _ in node.value)
            repeated = sorted(name for name, times in names.items() if times > 1)
            raise TemplateError(f"equal keys in a template: {repeated}{node.start_mark}")
        return mapping


_StrictLoader.add_constructor(TAG, lambda _, node: _Placeholder(node.value))


def fill_template(text: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return the object of a rendered template with its values, without keys whose value is None.

    Raises:
        TemplateError: the text is not one object, has equal keys, or has an expression inside a string.
    """
    result: dict[str, Any] = _fill(parse_template(text), values)
    return result


@functools.lru_cache(maxsize=PARSED_TEMPLATES)
def parse_template(text: str) -> dict[str, Any]:
    """Return the parsed text of one object; the result is shared, so that callers must not change it.

    Raises:
        TemplateError: the text is not one object, has equal keys, or has an expression inside a string.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
    except (yaml.YAMLError, ValueError) as error:
        raise TemplateError(f"a template rendered no valid YAML: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise TemplateError(f"a template must render one object, not {len(documents)} documents")
    _check_expressions(documents[0])
    return {key: _with_constants_marked(item) for key, item in documents[0].items()}


def _with_constants_marked(node: Any) -> Any:
    """Return a node in which the largest parts without placeholders are wrapped in `_Constant`."""
    if isinstance(node, dict):
        below: Any = {key: _with_constants_marked(item) for key, item in node.items()}
        fixed = all(
            isinstance(item, _Constant) for pair in below.items() for item in (_with_constants_marked(pair[0]), pair[1])
        )
    elif isinstance(node, list):
        below = [_with_constants_marked(item) for item in node]
        fixed = all(isinstance(item, _Constant) for item in below)
    else:
        return node if isinstance(node, _Placeholder) else _Constant(node)
    return _Constant(_fill(below, ())) if fixed else below


def _check_expressions(node: Any) -> None:
    """Refuse an expression that is only a part of a value."""
    if isinstance(node, dict):
        for item in (*node, *node.values()):
            _check_expressions(item)
    elif isinstance(node, list):
        for item in node:
            _check_expressions(item)
    elif isinstance(node, str) and f"{TAG} " in node:
        raise TemplateError(f"an expression must be a whole value, and is a part of {node!r}")


def _fill(node: Any, values: Sequence[Any]) -> Any:
    if isinstance(node, _Constant):
        # A copy: the caller may change the manifest.
        return plain_value(node.value)
    if isinstance(node, _Placeholder):
        return values[node]
    if isinstance(node, dict):
        items = ((_fill(key, values), _fill(item, values)) for key, item in node.items())
        return {str(key): item for key, item in items if item is not None}
    if isinstance(node, list):
        return [_fill(item, values) for item in node]
    return node
