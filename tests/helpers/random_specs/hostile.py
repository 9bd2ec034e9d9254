"""Specs that nobody should write: odd texts, wrong types, bounds and beyond, anywhere in an otherwise valid spec."""

from __future__ import annotations

import copy
import random
from typing import Any

from tests.helpers.random_specs.specs import Generator, Json, fields

TEXTS = (
    "", " ", "~", "null", "on", "0x1f", "1e3", "12:30:45", "<<", "-", "--", "---\na: b", "a\nb", "a\tb\x07c", "\x00",
    "\ufeff", "a\u2028b\u0085c", "\u202eabc", "a\u200bb", "\u00a0", "größe", "模型", "🦙", "\udcff", "{{ 7 * 7 }}",
    "{%", "!v 0", "!!python/object", "&a *a", "$(HOME)", "$$", "../../secrets/x", "a/b/c", "/", "%2e%2e", "?a=b#c",
    "A" * 63, "a" * 64, "a" * 254, "x" * 5000, "kubernetes.io/x", "requests.nvidia.com/gpu", "a..b", ".a", "a.",
    "-a", "a-", "100%", "101%", "-1%", "000%", "1e999999999", "-1Gi", "1Gi", "0", "9999999999999999999", ".5",
    "+1", "1.",
)  # fmt: skip
NUMBERS = (-1, 0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 0.0, -0.5, 1.0, 1.5, 1e308)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    {"": ""},
    {"a": None},
    ["a", 1, {}],
    {"$patch": "x"},
)

OPEN = (
    "scheduling.affinity",
    "podTemplate",
    "security.podSecurityContext",
    "security.containerSecurityContext",
    "cache.volume",
)
"""Parts that Kubernetes alone validates: an error there shows when a child is refused."""


def odd_value(rng: random.Random) -> Any:
    """A value that fits hardly anywhere."""
    match rng.randrange(6):
        case 0 | 1 | 2:
            return rng.choice(TEXTS)
        case 3:
            return rng.choice(NUMBERS)
        case 4:
            return copy.deepcopy(rng.choice(OTHERS))
    return nested(rng.choice((3, 30, 70, 300)), rng.choice((list, dict)))


def nested(depth: int, kind: type) -> Any:
    """A list or a map that deep."""
    value: Any = "x"
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def spoiled(spec: Json, rng: random.Random) -> Json:
    """A spec with one to three odd values or keys, at fields of the schema or anywhere."""
    result = copy.deepcopy(spec)
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice(_FIELDS) if rng.random() < 0.6 else ""
        _spoil(result, path.split(".") if path else [], rng)
    return result


_FIELDS = tuple(fields())


def _spoil(place: Any, steps: list[str], rng: random.Random) -> None:
    """Walk along the steps, making what is missing, then at random; replace what is there, or a key of it."""
    for number, step in enumerate(steps):
        name = step.removesuffix("[]")
        if number == len(steps) - 1:
            place[name] = odd_value(rng)
            return
        if not isinstance(place.get(name), dict | list) or not place[name]:
            place[name] = [{}] if step.endswith("[]") else {}
        place = place[name]
        if isinstance(place, list):
            place = place[rng.randrange(len(place))]
        if not isinstance(place, dict):
            return
    _spoil_anywhere(place, rng)


def _spoil_anywhere(place: Any, rng: random.Random) -> None:
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        if isinstance(place, dict) and rng.random() < 0.3:
            place[rng.choice(TEXTS)] = place.pop(key)
        else:
            place[key] = odd_value(rng)
        return


def manifest_spec(rng: random.Random) -> tuple[Json, bool]:
    """A spec for the fuzz run, and whether it was spoiled: a third is left as it was drawn."""
    spec = Generator(rng, chance=rng.choice((0.1, 0.35, 0.7))).spec()
    return (spec, False) if rng.random() < 0.33 else (spoiled(spec, rng), True)
