"""Shapes of load: a number of requests at once, arrivals at a rate, a sweep, conversations of several turns."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["concurrent", "constant", "poisson", "turns"]

MOST_AT_ONCE = 4096
"""Requests at once, or conversations at once, that a stage may have."""

LARGEST_RATE = 1000.0
"""Requests a second that a stage may send."""

MOST_STAGES = 32


class ShapeError(ValueError):
    """A shape of load that cannot be measured; the message names the cause and a valid one."""


@dataclass(frozen=True)
class Stage:
    """One stage of a measurement.

    Attributes:
        kind: `concurrent`: that number of requests at once; `constant` and `poisson`: requests a second, evenly or at
            random; `turns`: that number of conversations at once.
        level: the number, or the rate.
    """

    kind: Kind
    level: float

    @property
    def name(self) -> str:
        """Return the name of the stage, such as `concurrent=8`."""
        return f"{self.kind}={self.level:g}"


def parse_load(text: str) -> tuple[Stage, ...]:
    """Return the stages of `concurrent=8`, `constant=2.5`, `poisson=2.5`, `turns=4` or `sweep=1,2,4,8`.

    Raises:
        ShapeError: the text is no load.
    """
    kind, equals, value = text.partition("=")
    if not equals or kind not in {"concurrent", "constant", "poisson", "turns", "sweep"}:
        raise ShapeError(
            f"{text[:80]!r} is no load: write concurrent=8, constant=2.5, poisson=2.5, turns=4 or sweep=1,2,4,8"
        )
    if kind == "sweep":
        stages = tuple(_stage("concurrent", part, text) for part in value.split(","))
        if len(stages) > MOST_STAGES:
            raise ShapeError(f"{text[:80]!r} has {len(stages)} stages: at most {MOST_STAGES}")
        return stages
    return (_stage(kind, value, text),)  # type: ignore[arg-type]  # one of the kinds


def _stage(kind: Kind, value: str, text: str) -> Stage:
    try:
        level = float(value)
    except ValueError:
        raise ShapeError(f"{text[:80]!r}: {value[:20]!r} is no number") from None
    if kind in {"concurrent", "turns"}:
        if not level.is_integer() or not 1 <= level <= MOST_AT_ONCE:
            raise ShapeError(f"{text[:80]!r}: write a whole number from 1 to {MOST_AT_ONCE}")
    elif not 0.001 <= level <= LARGEST_RATE:
        raise ShapeError(f"{text[:80]!r}: write a rate from 0.001 to {LARGEST_RATE:g} requests a second")
    return Stage(kind, level)


def arrivals(stage: Stage, seed: int) -> Iterator[float]:
    """Return the seconds at which the requests of a stage with a rate are sent, without end."""
    if stage.kind == "constant":
        return (number / stage.level for number in itertools.count())
    return _poisson(stage.level, random.Random(seed))


def _poisson(rate: float, source: random.Random) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += source.expovariate(rate)
