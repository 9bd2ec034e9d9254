"""Flags, metrics and endpoints of vLLM releases: one JSON file each, measured on the real release.

`make vllm-versions` writes the files; nobody edits them. They decide which flags exist, whether running requests can be
drained, and which names the metrics have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

ReleaseNumber = tuple[int, int, int]
"""Major, minor and patch of a release."""

ValueKind = Literal["text", "integer", "size", "number", "json"]
"""Kind of a value; a size is an integer that may end in k, K, m, M and so on."""


@dataclass(frozen=True, slots=True)
class FlagSpec:
    """One flag of a release, as its own argument parser defines it.

    Attributes:
        name: the long flag, such as `--max-model-len`.
        nargs: number of values, as in argparse: 1, 0 for a switch, "?", "*" or "+".
        kind: kind of each value.
        keywords: values that are accepted although they are not of that kind, such as `auto`.
        choices: the only accepted values; empty if there is no such list.
        negatable: the flag has a `--no-` form.
        opposites: names that set it to false, such as `--disable-lora` for `--enable-lora` (vLLM 0.33).
        aliases: its other names, such as `-tp`.
    """

    name: str
    nargs: int | str = 1
    kind: ValueKind = "text"
    keywords: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    negatable: bool = False
    opposites: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Release:
    """One measured release.

    Attributes:
        number: its version.
        flags: long flag -> its definition.
        metrics: metric family -> its type.
        endpoints: endpoints such as `GET /health`; empty if no server could be started.
        source: `server` if a running server listed the metrics, `source` if they were read from its code.
    """

    number: ReleaseNumber
    flags: Mapping[str, FlagSpec]
    metrics: Mapping[str, str]
    endpoints: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        return ".".join(map(str, self.number))


def release_numbers() -> tuple[ReleaseNumber, ...]:
    """Return the numbers of the measured releases, oldest first."""
    return tuple(sorted(_files()))


@cache
def load_release(number: ReleaseNumber) -> Release:
    """Return a measured release; its file is read once."""
    body = json.loads(_files()[number])
    return Release(
        number=number,
        flags={name: _flag(name, facts) for name, facts in body["flags"].items()},
        metrics=body["metrics"],
        endpoints=tuple(body["endpoints"]),
        source=body["source"],
    )


@cache
def _files() -> dict[ReleaseNumber, str]:
    found = {}
    for file in resources.files(__name__).iterdir():
        name, _, ending = file.name.rpartition(".")
        if ending == "json":
            major, minor, patch = map(int, name.split(".")[:3])
            found[major, minor, patch] = file.read_text()
    return found


def _flag(name: str, facts: dict[str, Any]) -> FlagSpec:
    return FlagSpec(
        name=name,
        nargs=facts.get("nargs", 1),
        kind=facts.get("kind", "text"),
        keywords=tuple(facts.get("keywords", ())),
        choices=tuple(facts.get("choices", ())),
        negatable=facts.get("negatable", False),
        opposites=tuple(facts.get("opposites", ())),
        aliases=tuple(facts.get("aliases", ())),
    )
