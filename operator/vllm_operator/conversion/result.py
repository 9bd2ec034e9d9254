"""The result of a conversion: VLLMServers, and what could not be carried over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.names import API_VERSION, KIND, SERVER_NAME_LENGTH, shorten

LONGEST_SHOWN = 120
"""Characters of a value that a message quotes."""


@dataclass(frozen=True)
class Unconverted:
    """One part of a source that its VLLMServer lacks, or has in another way.

    Attributes:
        field: path in the source, such as `spec.adapters`.
        message: what happens instead, or what to do.
    """

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True)
class Conversion:
    """The result for one object of a source.

    Attributes:
        source: the object, such as `Model mistral`.
        server: the VLLMServer; None when the object cannot become one.
        unconverted: what could not be carried over; for an object without a server, the reasons.
    """

    source: str
    server: dict[str, Any] | None
    unconverted: tuple[Unconverted, ...] = ()


@dataclass
class Draft:
    """A VLLMServer in the making: its spec, and what has been lost so far."""

    spec: dict[str, Any] = field(default_factory=dict)
    lost: list[Unconverted] = field(default_factory=list)

    def set(self, path: str, value: Any) -> None:
        """Set a field of the spec, such as `engine.maxModelLen`; None and empty values leave it unset."""
        if value is None or value in ({}, [], ""):
            return
        *above, last = path.split(".")
        target = self.spec
        for name in above:
            target = target.setdefault(name, {})
        target[last] = value

    def get(self, path: str) -> Any:
        """Return a field of the spec; None when it is unset."""
        value: Any = self.spec
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def lose(self, path: str, message: str) -> None:
        """Note that a part of the source is not carried over."""
        self.lost.append(Unconverted(shown(path), message))


def shown(value: object) -> str:
    """Return a value for a message: one line, cut."""
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def server_object(name: str, namespace: str | None, draft: Draft) -> dict[str, Any]:
    """Return the VLLMServer of a draft."""
    if object_name(name) != name:
        draft.lose("metadata.name", f"{shown(name)} becomes {object_name(name)}, which is a valid name of a Service")
    metadata = {"name": object_name(name)} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": draft.spec}


def object_name(name: str) -> str:
    """Return a valid name of a VLLMServer: lower case, digits and dashes, with a letter first."""
    valid = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if not valid or not valid[0].isalpha():
        valid = f"vllm-{valid}".rstrip("-")
    return shorten(valid, SERVER_NAME_LENGTH)


def whole(value: Any, default: int = 0) -> int:
    """Return a value that should be a whole number; the default otherwise."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def mapping(value: Any) -> dict[str, Any]:
    """Return a value that should be a map; an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return a value that should be a list; an empty one otherwise."""
    return value if isinstance(value, list) else []


def maps(value: Any) -> list[dict[str, Any]]:
    """Return the maps of a value that should be a list of maps."""
    return [item for item in items(value) if isinstance(item, dict)]
