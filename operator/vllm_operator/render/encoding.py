"""Values into YAML and back, so that no value is ever interpreted.

Every `{{ expression }}` of a template becomes JSON, which is YAML: a string stays that string, whether it holds
quotes, newlines, braces or `on`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from vllm_operator.errors import TemplateError

_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def to_yaml(value: object) -> str:
    """One line of JSON that YAML reads as the same value.

    JSON writes a character beyond the basic plane as two escapes, which YAML takes for two broken characters:
    they become one `\\U` escape.
    """
    return _ESCAPE.sub(_joined_surrogates, json.dumps(value, default=_plain))


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TemplateError(f"a template cannot show a {type(value).__name__}")


def _joined_surrogates(match: re.Match[str]) -> str:
    high, low = match.groups()
    if high is None:
        return match.group()
    return f"\\U{0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00:08X}"


class _StrictLoader(yaml.CSafeLoader):
    """A loader that refuses equal keys, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = {key for key in keys if keys.count(key) > 1}
        if repeated:
            raise TemplateError(f"equal keys in a template: {sorted(map(str, repeated))}{node.start_mark}")
        return super().construct_mapping(node, deep=deep)


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
