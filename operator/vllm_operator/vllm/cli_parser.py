"""Parse arguments like the parser of one release of vLLM.

The rules are those of argparse (Python's `Lib/argparse.py`, `_parse_optional` and `_get_option_tuples`) and those that
vLLM applies before: underscores for dashes, `--flag.key value` for JSON, `-O3` (vLLM, `utils/argparse_utils.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vllm_operator.vllm.flags import names_with_prefix
from vllm_operator.vllm.releases import FlagSpec

OPTIMIZATION = FlagSpec("-O", nargs="?")
"""The flag `-O`: vLLM rewrites `-O3` before it parses, and some releases have no such flag."""

MOST_CANDIDATES = 16
"""Names that are compared for an incomplete one: more than any flag has, so that they belong to several flags."""

HELP = FlagSpec("--help", nargs=0, aliases=("-h",))

_NEGATIVE_NUMBER = re.compile(r"-\d[\d_]*(?:\.\d[\d_]*)?|-\d*\.\d[\d_]*")


@dataclass(frozen=True)
class Argument:
    """One flag with its values, or one value that belongs to no flag.

    Attributes:
        position: index of its first item among the arguments.
        written: the flag as written, without its value; empty for a value that belongs to no flag.
        flag: definition of the flag; None for an unknown flag or an ambiguous prefix.
        values: values of the flag.
        bound: an equals sign binds the value.
        negated: the flag is written as `--no-...`.
        key: it sets one key of a JSON flag, as in `--flag.key value`.
        candidates: names of the flags that an ambiguous prefix may stand for.
    """

    position: int
    written: str
    flag: FlagSpec | None
    values: tuple[str, ...] = ()
    bound: bool = False
    negated: bool = False
    key: bool = False
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Match:
    """The flag that one item names; `value` is the part after its equals sign."""

    written: str
    value: str | None = None
    flag: FlagSpec | None = None
    negated: bool = False
    key: bool = False
    candidates: tuple[str, ...] = ()


class CliParser:
    """A parser for the flags of one release, under all of their names."""

    def __init__(self, flags: Mapping[str, FlagSpec]) -> None:
        self._names: dict[str, tuple[FlagSpec, bool]] = {}
        for flag in (HELP, *flags.values()):
            self._names |= dict.fromkeys((flag.name, *flag.aliases), (flag, False))
            self._names |= dict.fromkeys(flag.opposites, (flag, True))
            if flag.negatable:
                positives = (name for name in (flag.name, *flag.aliases) if name.startswith("--"))
                self._names |= {f"--no-{name.removeprefix('--')}": (flag, True) for name in positives}

        self._sorted = sorted(self._names)

    @property
    def names(self) -> Collection[str]:
        """Return all names of all flags, the negated ones too."""
        return self._names.keys()

    def parse(self, arguments: Sequence[str]) -> tuple[Argument, ...]:
        """Return the arguments in their order, each with its values."""
        found: list[Argument] = []
        position = 0
        while position < len(arguments):
            match = self._match(arguments[position])
            if match is None:
                found.append(Argument(position, "", None, (arguments[position],)))
                position += 1
                continue
            values = self._values(match, arguments[position + 1 :])
            found.append(
                Argument(
                    position=position,
                    written=match.written,
                    flag=match.flag,
                    values=values if match.value is None else (match.value,),
                    bound=match.value is not None,
                    negated=match.negated,
                    key=match.key,
                    candidates=match.candidates,
                )
            )
            position += 1 + len(values)
        return tuple(found)

    def _values(self, match: _Match, following: Sequence[str]) -> tuple[str, ...]:
        """Return the following items that belong to a flag; for an unknown flag, all values up to the next flag."""
        if match.value is not None:
            return ()
        if match.key:
            return tuple(following[:1])
        takes = match.flag.nargs if match.flag else "*"
        most = takes if isinstance(takes, int) else 1 if takes == "?" else len(following)
        values: list[str] = []
        for item in following[:most]:
            if self._match(item) is not None:
                break
            values.append(item)
        return tuple(values)

    def _match(self, item: str) -> _Match | None:
        """Return the flag that an item names; None for a value."""
        if not item.startswith("-") or item == "-":
            return None
        if item.startswith("-O"):
            flag, _ = self._names.get("-O", (OPTIMIZATION, False))
            return _Match("-O", item[2:].removeprefix("=") or None, flag, key="." in item)
        item = _dashed(item)
        if item in self._names:
            return _known_flag(item, None, *self._names[item])
        written, equals, value = item.partition("=")
        bound = value if equals else None
        if written in self._names:
            return _known_flag(written, bound, *self._names[written])
        if "." in written and not _NEGATIVE_NUMBER.fullmatch(item):
            return self._key(written, bound)
        return self._prefix(item, written, bound)

    def _key(self, written: str, value: str | None) -> _Match:
        name = written.partition(".")[0]
        match = (
            self._prefix(name, name, None) if name not in self._names else _known_flag(name, None, *self._names[name])
        )
        flag = match.flag if match else None
        return _Match(written, value, flag, key=True, candidates=match.candidates if match else ())

    def _prefix(self, item: str, written: str, value: str | None) -> _Match | None:
        """Return the flag that starts with an item, else an unknown flag; None for what argparse reads as a value."""
        matches = names_with_prefix(self._sorted, written, MOST_CANDIDATES)
        short = item[:2] if not item.startswith("--") and item[:2] in self._names else ""
        flags = {self._names[name] for name in [*matches, *([short] if short else [])]}
        if len(flags) == 1:
            return _known_flag(written, item[2:] if short else value, *flags.pop())
        if flags:
            return _Match(written, value, candidates=tuple(matches))
        if _NEGATIVE_NUMBER.fullmatch(item) or " " in item:
            return None
        return _Match(written, value)


def _known_flag(written: str, value: str | None, flag: FlagSpec, negated: bool) -> _Match:
    return _Match(written, value, flag, negated)


def _dashed(item: str) -> str:
    """Return a long flag with dashes for underscores in its name, up to the first dot or equals sign, like vLLM."""
    if not item.startswith("--"):
        return item
    name = re.split(r"[.=]", item, maxsplit=1)[0]
    return name.replace("_", "-") + item[len(name) :]
