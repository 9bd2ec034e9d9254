"""Find vLLM's flags in plain arguments, by the rules of Python's argparse and of vLLM's parser.

vLLM accepts `--flag value`, `--flag=value`, underscores for dashes, `--no-flag` for booleans, unique prefixes
of a flag, a few short options and `--flag.key=value` for JSON (vLLM, `utils/argparse_utils.py`).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

SHORT_OPTIONS = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-q": "--quantization",
}


_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


@dataclass(frozen=True)
class Flag:
    """One flag among the arguments.

    Attributes:
        name: the full flag, such as `--max-model-len`.
        values: the values that follow it; empty for a switch.
        position: index of the flag among the arguments.
        negated: the flag is written as `--no-...`.
    """

    name: str
    values: tuple[str, ...]
    position: int
    negated: bool = False

    @property
    def value(self) -> str | None:
        """Return the last value, which is the one that counts; None for a switch."""
        return self.values[-1] if self.values else None


def read_flags(arguments: Sequence[str], known: Iterable[str]) -> tuple[Flag, ...]:
    """Return the flags among `arguments`; a unique prefix of a flag in `known` is completed."""
    names = sorted(set(known))
    flags: list[Flag] = []
    for position, argument in enumerate(arguments):
        if not _is_flag(argument):
            continue
        written, separator, value = argument.partition("=")
        name, negated = _full_name(written, names)
        values = (value,) if separator else _following_values(arguments, position)
        flags.append(Flag(name, values, position, negated))
    return tuple(flags)


def _is_flag(argument: str) -> bool:
    if _is_value(argument):
        return False
    return argument.startswith("--") or argument.partition("=")[0] in SHORT_OPTIONS


def _following_values(arguments: Sequence[str], position: int) -> tuple[str, ...]:
    values: list[str] = []
    for argument in arguments[position + 1 :]:
        if not _is_value(argument):
            break
        values.append(argument)
    return tuple(values)


def _is_value(argument: str) -> bool:
    """Return whether argparse reads a value: a lone dash, a negative number, or a space before any equals sign."""
    if not argument.startswith("-") or argument == "-" or _NEGATIVE_NUMBER.fullmatch(argument):
        return True
    return " " in argument.partition("=")[0]


def _full_name(written: str, names: Sequence[str]) -> tuple[str, bool]:
    if written in SHORT_OPTIONS:
        return SHORT_OPTIONS[written], False
    name = written.partition(".")[0].replace("_", "-")
    positive = "--" + name.removeprefix("--no-") if name.startswith("--no-") else name
    return _completed(positive, names), positive != name


def _completed(name: str, names: Sequence[str]) -> str:
    matches = names_with_prefix(names, name, most=2)
    if name in matches:
        return name
    return matches[0] if len(matches) == 1 and len(name) > len("--") else name


def names_with_prefix(names: Sequence[str], prefix: str, most: int) -> list[str]:
    """Return the first `most` names that start with `prefix`.

    Args:
        names: sorted names. They are searched by halves: a server may have 256 arguments, and vLLM has 700 names.
        prefix: start of the names.
        most: bound on the result.
    """
    following = (names[place] for place in range(bisect_left(names, prefix), len(names)))
    return list(islice(takewhile(lambda name: name.startswith(prefix), following), most))
