"""Values into YAML and back, so that no value is ever interpreted.

Every `{{ expression }}` of a template becomes JSON, which is YAML: a string stays that string, whether it holds
quotes, newlines, braces or `on`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from vllm_operator.errors import TemplateError

_LONGEST_SIMPLE_KEY = 1000
"""YAML takes a longer key only behind a question mark (1,024 characters, YAML 1.1, 7.3.1)."""

_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def to_yaml(value: object) -> str:
    """One line of JSON that YAML reads as the same value.

    JSON writes a character beyond the basic plane as two escapes, which YAML takes for two broken characters:
    they become one `\\U` escape.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = vars(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {to_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_yaml, value)) + "]"
    if value is None or isinstance(value, str | int | float):
        return _ESCAPE.sub(_joined_surrogates, json.dumps(value))
    raise TemplateError(f"a template cannot show a {type(value).__name__}")


def _key(key: object) -> str:
    text = to_yaml(str(key))
    return text if len(text) <= _LONGEST_SIMPLE_KEY else f"? {text} "


def _joined_surrogates(match: re.Match[str]) -> str:
    high, low = match.groups()
    if high is None:
        return match.group()
    return f"\\U{0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00:08X}"


class _StrictLoader(yaml.CSafeLoader):
    """A loader that refuses equal keys, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            names = Counter(str(key.value) for key, _ in node.value)
            repeated = sorted(name for name, times in names.items() if times > 1)
            raise TemplateError(f"equal keys in a template: {repeated}{node.start_mark}")
        return mapping


# YAML 1.1 takes JSON's 1e+16 for a text.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?[0-9]+(\.[0-9]+)?[eE][-+]?[0-9]+$"), list("-0123456789")
)


def from_yaml(text: str) -> dict[str, Any]:
    """Parse exactly one document that is an object.

    Raises:
        TemplateError: no document, several, a list, a scalar or equal keys.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
    except yaml.YAMLError as error:
        raise TemplateError(f"a template rendered no valid YAML: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise TemplateError(f"a template must render one object, not {len(documents)} documents")
    return documents[0]


def without_none(value: Any) -> Any:
    """The value without the keys whose value is None: a template shows an unset field as null."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return value
