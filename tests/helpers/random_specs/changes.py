"""Random changes of a spec: fields set, changed and unset at any depth, items and keys that come and go."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.random_specs.specs import Generator, Json, fields, schema_at


@dataclass
class Changes:
    """Draws changes so that every field of the schema has its turn.

    Attributes:
        generator: draws the new values.
        left_out: fields that are never drawn by themselves.
    """

    generator: Generator
    left_out: frozenset[str] = frozenset()
    _turn: list[str] = field(default_factory=list)

    @property
    def rng(self) -> random.Random:
        return self.generator.rng

    def changed(self, spec: Json) -> tuple[Json, str]:
        """Another spec, and what was done to it in words: one to three fields were touched."""
        result, words = copy.deepcopy(spec), []
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3))):
            path = self._next()
            words.append(f"{self._touch(result, path)} {path}")
        return result, ", ".join(words)

    def _next(self) -> str:
        if not self._turn:
            self._turn = [path for path in fields() if path not in self.left_out]
            self.rng.shuffle(self._turn)
        return self._turn.pop()

    def _touch(self, spec: Json, path: str) -> str:
        *above, last = path.split(".")
        place: Any = spec
        for number, step in enumerate(above):
            place = self._entered(place, step, ".".join(above[: number + 1]))
        chosen: Callable[[Json, str, str], str] = self.rng.choice(self._ways(place, last, path))
        return chosen(place, last, path)

    def _entered(self, place: Json, step: str, path: str) -> Any:
        """Return the value at a step, created with its required fields if it is missing; a random item of a list."""
        name = step.removesuffix("[]")
        if not place.get(name):
            place[name] = [self._required(path)] if step.endswith("[]") else self._required(path)
        return self.rng.choice(place[name]) if step.endswith("[]") else place[name]

    def _required(self, path: str) -> Json:
        node = schema_at(path)
        return {name: self.generator.value(f"{path}.{name}") for name in node.get("required", ())}

    def _ways(self, place: Json, name: str, path: str) -> list[Callable[[Json, str, str], str]]:
        parent = schema_at(path.rpartition(".")[0])
        ways = [self._set, self._set]
        if name in place and name not in parent.get("required", ()):
            ways += [self._unset, self._unset]
        if isinstance(place.get(name), list | dict) and place[name]:
            ways.append(self._take_one)
        if isinstance(place.get(name), list) and len(place[name]) > 1:
            ways.append(self._turn_around)
        return ways

    def _set(self, place: Json, name: str, path: str) -> str:
        """Another value than the one that stands there, unless the field has only one."""
        former = place.get(name)
        for _ in range(8):
            place[name] = self.generator.value(path)
            if place[name] != former:
                break
        return "set"

    def _unset(self, place: Json, name: str, path: str) -> str:
        del place[name]
        return "unset"

    def _take_one(self, place: Json, name: str, path: str) -> str:
        """Remove an item or a key."""
        within = place[name]
        del within[self.rng.choice(list(within) if isinstance(within, dict) else range(len(within)))]
        return "take from"

    def _turn_around(self, place: Json, name: str, path: str) -> str:
        place[name].reverse()
        return "reorder"


def changed_fields(before: Json, after: Json) -> list[str]:
    """Fields that differ, each by its path; lists, maps and open objects as one field each."""
    return list(_differences(before, after, ""))


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if before == after:
        return
    node = schema_at(path)
    if "properties" not in node:
        yield path
        return
    parts = [(name, f"{path}.{name}" if path else name) for name in node["properties"]]
    found = [one for name, below in parts for one in _differences(_part(before, name), _part(after, name), below)]
    # An empty object is another thing than none.
    yield from found or [path]


def _part(value: Any, name: str) -> Any:
    return (value or {}).get(name)
