"""The flags of the vLLM that a spec runs, even when that release was not measured.

What a release offers (metrics, drain) follows the newest measured release that is not newer. The flags that it accepts
are those of either neighbour: a flag that came or went between the two may exist. A release newer than all measured
ones may have unknown flags, so no flag is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from vllm_operator.api.spec import Spec
from vllm_operator.vllm.cli_parser import CliParser
from vllm_operator.vllm.releases import FlagSpec, Release, ReleaseNumber, load_release, release_numbers
from vllm_operator.vllm.version import Version, vllm_release_number

KNOWN_RELEASES = 64
"""Releases whose flags are kept, 50 KB each. A user may write any number in `spec.version`."""


@dataclass(frozen=True)
class KnownRelease:
    """Flags of one release of vLLM.

    Attributes:
        name: name of the release, such as `vLLM 0.18.1`.
        flags: all flags that it may have.
        measured: this very release was measured, so that values can be checked too.
        complete: a flag outside of `flags` does not exist.
        newest: the newest measured release, when this one is newer; empty otherwise.
    """

    name: str
    flags: Mapping[str, FlagSpec]
    measured: bool
    complete: bool
    newest: str = ""

    @cached_property
    def cli_parser(self) -> CliParser:
        """Return the parser of this release; it is created once, for thousands of servers."""
        return CliParser(self.flags)


def known_release(spec: Spec) -> KnownRelease | None:
    """Return the release that a spec runs; None when its version is unknown."""
    number = vllm_release_number(spec)
    return _release_of_number(number) if number else None


@lru_cache(maxsize=KNOWN_RELEASES)
def _release_of_number(number: tuple[int, ...]) -> KnownRelease:
    name = f"vLLM {'.'.join(map(str, number))}"
    if own := _measured(number):
        return KnownRelease(name, load_release(own).flags, measured=True, complete=True)
    below = [one for one in release_numbers() if one < number]
    above = [one for one in release_numbers() if one > number]
    around = [load_release(one) for one in (*above[:1], *below[-1:])]
    flags = {name: flag for neighbour in around for name, flag in neighbour.flags.items()}
    newest = "" if above else str(load_release(below[-1]))
    return KnownRelease(name, flags, measured=False, complete=len(around) == 2, newest=newest)


def _measured(number: tuple[int, ...]) -> ReleaseNumber | None:
    """Return the measured release with that number; for a number without a patch, one of its minor version."""
    return next((one for one in reversed(release_numbers()) if one[: len(number)] == number), None)


def nearest_release(version: Version | None) -> Release:
    """Return the newest measured release that is not newer than `version`; the newest of all for None."""
    fitting = [one for one in release_numbers() if version is None or one[:2] <= version]
    return load_release(fitting[-1] if fitting else release_numbers()[0])


@dataclass(frozen=True)
class FlagHistory:
    """The releases in which a flag came and went, as far as measured; empty if it was always or never there."""

    since: str
    removed: str


def flag_history(flag: str) -> FlagHistory:
    """Return when `flag` came and went: `in 0.18`, or `between 0.14 and 0.18` if no release between was measured."""
    all_numbers = release_numbers()
    having = [place for place, number in enumerate(all_numbers) if flag in load_release(number).flags]
    if not having:
        return FlagHistory("", "")
    before = all_numbers[having[0] - 1] if having[0] else None
    after = all_numbers[having[-1] + 1] if having[-1] + 1 < len(all_numbers) else None
    return FlagHistory(
        since=_change_period(before, all_numbers[having[0]]) if before else "",
        removed=_change_period(all_numbers[having[-1]], after) if after else "",
    )


def _change_period(without: ReleaseNumber, having: ReleaseNumber) -> str:
    first, second = (f"{number[0]}.{number[1]}" for number in (without, having))
    return f"in {second}" if having[1] - without[1] == 1 else f"between {first} and {second}"
