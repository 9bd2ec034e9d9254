"""Parse label selectors as the API server does (apimachinery `pkg/labels`), and match labels against them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vllm_operator.errors import VLLMOperatorError

MAX_LENGTH = 8192
"""Longest selector that is parsed, in characters. That of a Deployment with many labels has some hundred."""

_SET = re.compile(r"(?P<key>[^\s!=<>(),]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_COMPARISON = re.compile(r"(?P<key>[^\s!=<>(),]+)\s*(?P<op>==|=|!=|>|<)\s*(?P<value>[^\s!=<>(),]*)")
_EXISTENCE = re.compile(r"(?P<op>!?)\s*(?P<key>[^\s!=<>(),]+)")


class InvalidSelectorError(VLLMOperatorError):
    """A text is no label selector."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement on one label: `in`, `notin`, `exists`, `absent`, `>` or `<`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels meet it; `notin` is met where the label is missing."""
        value = labels.get(self.key)
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "absent":
            return value is None
        if value is None:
            return False
        return self.operator == "exists" or (
            value in self.values if self.operator == "in" else self._matches_number(value)
        )

    def _matches_number(self, value: str) -> bool:
        (limit,) = self.values
        try:
            return int(value) > int(limit) if self.operator == ">" else int(value) < int(limit)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A selector: all of its requirements must be met; without any, it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def only_value(self, key: str) -> str | None:
        """Return the single value that the selector allows for a label; None where it allows several."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator == "in" and len(requirement.values) == 1:
                return next(iter(requirement.values))
        return None


def parse_selector(text: str) -> LabelSelector:
    """Return the selector of a text such as `app=vllm,tier in (a,b),!canary`; an empty one matches everything.

    Raises:
        InvalidSelectorError: the text is too long or no selector.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidSelectorError(f"the label selector has more than {MAX_LENGTH} characters")
    if not text.strip():
        return LabelSelector()
    return LabelSelector(tuple(_requirements(text)))


def _requirements(text: str) -> Iterator[Requirement]:
    for part in _parts(text):
        stripped = part.strip()
        if match := _SET.fullmatch(stripped):
            values = frozenset(value.strip() for value in match["values"].split(","))
            yield Requirement(match["key"], match["op"], values)
        elif match := _COMPARISON.fullmatch(stripped):
            yield Requirement(match["key"], _OPERATORS[match["op"]], frozenset({match["value"]}))
        elif match := _EXISTENCE.fullmatch(stripped):
            yield Requirement(match["key"], "absent" if match["op"] else "exists")
        else:
            raise InvalidSelectorError(f'"{stripped[:80]}" is no requirement of a label selector')


_OPERATORS = {"=": "in", "==": "in", "!=": "notin", ">": ">", "<": "<"}


def _parts(text: str) -> Iterator[str]:
    """Yield the requirements, which commas outside of parentheses separate."""
    start, depth = 0, 0
    for place, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]
