"""Fields of a config.json, read with bounds: the file comes from a model's author, who is not trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MAX_LAYERS = 2_000
"""Layers that a config.json may name. The largest published models have fewer than 200."""

MAX_SIZE = 1 << 28
"""Largest accepted width or count in a config.json. The largest published vocabularies have fewer than 2^20 entries."""


class ConfigError(ValueError):
    """A config.json that gives no size: its message names the field."""


def integer(config: Mapping[str, Any], *names: str, default: int | None = None, low: int = 1) -> int:
    """Return the first of the named fields as an integer.

    Args:
        config: the part of the config.json.
        names: the names that model families use for the same field, the most common first.
        default: the value when no name is present. Without it, the field is required.
        low: the smallest accepted value.

    Raises:
        ConfigError: the field is missing, no integer, or out of bounds.
    """
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, list) and value and value.count(value[0]) == len(value):
            # Gemma 3n has the same width for each layer, InternVL the same size for rows and columns.
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
            raise ConfigError(f"config.json: {name} is {value!r}; it must be a whole number")
        if not low <= value <= MAX_SIZE:
            raise ConfigError(f"config.json: {name} is {int(value)}; it must be between {low} and {MAX_SIZE}")
        return int(value)
    if default is None:
        raise ConfigError(f"config.json: {names[0]} is missing, so the model's size is unknown")
    return default


def fraction(config: Mapping[str, Any], name: str, default: float) -> float:
    """Return a field between 0 and 1, or the default when it is missing.

    Raises:
        ConfigError: the field is no number between 0 and 1.
    """
    value = config.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigError(f"config.json: {name} is {value!r}; it must be a number above 0, and 1 at most")
    return float(value)


def text(config: Mapping[str, Any], *names: str, default: str = "") -> str:
    """Return the first of the named fields that is a string."""
    return next((config[name] for name in names if isinstance(config.get(name), str)), default)


def part(config: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    """Return the first of the named fields that is an object."""
    return next((config[name] for name in names if isinstance(config.get(name), Mapping)), None)


def strings(config: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a field as a tuple of its strings; () when it is missing or no list."""
    value = config.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(item for item in value if isinstance(item, str))
