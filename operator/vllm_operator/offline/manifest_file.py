"""Read YAML as kubectl does: YAML becomes JSON, so that there are no dates and no equal keys.

The reader builds values from the events of the parser. PyYAML's own composer calls itself for each level, and a deeply
nested file ends the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import yaml

MOST_BYTES = 3 * 1024 * 1024
"""Bytes of one file: the API server reads no larger request (3 MiB)."""

DEEPEST = 1000
"""Levels of nesting that are read. The operator refuses a spec with more than 64."""

MOST_VALUES = 1_000_000
"""Values that one file may have once its aliases are followed, so that nested aliases cannot exhaust the memory."""

MERGE_KEY = "".join(["<", "<"])
"""The merge key of YAML, compared by identity: a quoted "<<" is an ordinary key."""

_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class UnreadableFileError(Exception):
    """A file that is not valid YAML, or larger than the API server takes."""


@dataclass
class Document:
    """One document of a file.

    Attributes:
        body: its value.
        repeated: keys that a map has twice.
    """

    body: Any = None
    repeated: list[str] = field(default_factory=list)


@dataclass
class _Open:
    """A list or map whose end has not been read yet.

    Attributes:
        value: the list or map.
        anchor: name under which an alias may repeat it.
        started: number of values that were read before it.
        keys: the key of a map that waits for its value.
        merged: maps of merge keys (`<<`), which are merged at the end.
    """

    value: Any
    anchor: str | None
    started: int
    keys: list[str] = field(default_factory=list)
    merged: list[Any] = field(default_factory=list)


def read_documents(text: str) -> list[Document]:
    """Return the documents of a YAML or JSON file, without the empty ones.

    Raises:
        UnreadableFileError: the file is too large, too deep or not valid YAML.
    """
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise UnreadableFileError(f"the file has more than {MOST_BYTES} bytes, which the API server does not read")
    try:
        if document := _json(text):
            return [document]
        return [document for document in _Reader().documents(text) if document.body is not None]
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        raise UnreadableFileError(f"the file is not valid YAML: {' '.join(str(error).split())[:300]}") from error


def _json(text: str) -> Document | None:
    """Return the document of a JSON file; None if it is no JSON, and may still be YAML."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        orjson.loads(text)  # It refuses a file of more than 1024 levels, on which `json` would recurse.
    except orjson.JSONDecodeError:
        return None
    document = Document()

    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            names = [name for name, _ in pairs]
            document.repeated.extend(name for name in result if names.count(name) > 1)
        return result

    document.body = json.loads(text, object_pairs_hook=take)
    return document


class _Reader:
    """Builds values from events, with an explicit stack."""

    def documents(self, text: str) -> Iterator[Document]:
        self._values = 0
        self._document = Document()
        self._stack: list[_Open] = []
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentStartEvent):
                self._document, self._stack, self._anchors, self._sizes = Document(), [], {}, {}
            elif isinstance(event, yaml.DocumentEndEvent):
                yield self._document
            else:
                self._take(event)

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent():
                self._add(_scalar(event), event.anchor, is_merge=event.value == "<<" and event.implicit[0])
            case yaml.AliasEvent():
                if event.anchor not in self._anchors:
                    raise ValueError(f"unknown alias {event.anchor}")
                self._count(self._sizes[event.anchor])
                self._add(self._anchors[event.anchor], None)
            case yaml.SequenceStartEvent():
                self._open([], event.anchor)
            case yaml.MappingStartEvent():
                self._open({}, event.anchor)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()

    def _open(self, value: Any, anchor: str | None) -> None:
        if len(self._stack) >= DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels")
        self._stack.append(_Open(value, anchor, self._values))

    def _close(self) -> None:
        done = self._stack.pop()
        for source in done.merged:
            for item in source if isinstance(source, list) else [source]:
                if not isinstance(item, dict):
                    raise ValueError("a merge key (<<) needs a map")
                done.value.update({key: value for key, value in item.items() if key not in done.value})
        self._add(done.value, done.anchor, size=self._values - done.started + 1)

    def _add(self, value: Any, anchor: str | None, *, is_merge: bool = False, size: int = 1) -> None:
        self._count(1)
        if anchor:
            self._anchors[anchor], self._sizes[anchor] = value, size
        if not self._stack:
            self._document.body = value
            return
        parent = self._stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif not parent.keys:
            parent.keys.append(MERGE_KEY if is_merge else _key(value))
        else:
            self._set(parent, parent.keys.pop(), value)

    def _set(self, parent: _Open, key: str, value: Any) -> None:
        if key is MERGE_KEY:
            parent.merged.append(value)
            return
        if key in parent.value:
            self._document.repeated.append(key)
        parent.value[key] = value

    def _count(self, more: int) -> None:
        self._values += more
        if self._values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES} values once its aliases are followed")


def _key(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("a key of a map is no text")


def _scalar(event: yaml.ScalarEvent) -> Any:
    """Return the value of a scalar as kubectl's reader resolves it: no dates, no numbers with a base of 60."""
    text: str = event.value
    if event.tag in {"tag:yaml.org,2002:str", "!"} or (not event.implicit[0] and event.tag is None):
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            raise ValueError(f"the number {text[:40]} is too large")
        return number
    if text.lower().lstrip("+-") in {".inf", ".nan"}:
        raise ValueError(f"{text} is no number of JSON")
    return text


def _integer(text: str) -> Any:
    digits = text.replace("_", "")
    if len(digits) > 400:
        raise ValueError("a number has more than 400 digits")
    plain = digits.lstrip("+-")
    if len(plain) > 1 and plain[0] == "0" and plain[1].isdigit():
        return int(digits, 8)
    return int(digits, 0)
