"""What releases of vLLM take and tell: one JSON file each, measured on the real release by `make vllm-versions`.

Nothing here is written by hand. The tables lie below `plan` because its decisions are the ones that need them: which
flags exist, whether running requests can be drained, and what the metrics are called.
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
"""What a value must be; a size is an integer that may end in k, K, m, M and so on."""


@dataclass(frozen=True, slots=True)
class FlagSpec:
    """One flag of a release, as its own argument parser defines it.

    Attributes:
        name: the long flag, such as `--max-model-len`.
        takes: how many values follow, in argparse's words: 1, 0 for a switch, "?", "*" or "+".
        kind: what each value must be.
        words: texts that are taken although `kind` does not hold them, such as `auto`.
        choices: the only values there are; empty where any value will do.
        negatable: it has a `--no-` form.
        aliases: its other names, such as `-tp`.
    """

    name: str
    nargs: int | str = 1
    kind: ValueKind = "text"
    keywords: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    negatable: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def negative(self) -> str:
        """`--no-flag`."""
        return f"--no-{self.name.removeprefix('--')}"


@dataclass(frozen=True)
class Release:
    """One measured release.

    Attributes:
        number: its version.
        flags: long flag -> its definition.
        metrics: families that its server exports -> their types.
        endpoints: such as `GET /health`; empty where the server could not be asked.
        source: `server` when a running server told its metrics, `source` when its code did.
    """

    number: ReleaseNumber
    flags: Mapping[str, FlagSpec]
    metrics: Mapping[str, str]
    endpoints: tuple[str, ...]
    source: str

    def __str__(self) -> str:
        return ".".join(map(str, self.number))


def release_numbers() -> tuple[ReleaseNumber, ...]:
    """The measured releases, oldest first."""
    return tuple(sorted(_files()))


@cache
def load_release(number: ReleaseNumber) -> Release:
    """The table of a measured release, read once."""
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
        aliases=tuple(facts.get("aliases", ())),
    )
