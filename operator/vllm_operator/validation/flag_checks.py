"""Refuse flags that the vLLM of a spec does not have, and values that its parser refuses.

The image may hold a fork or plugins, so a check accepts all that is in doubt: vLLM itself decides at its start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches

from vllm_operator.api.engine import set_flags
from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import COUNT_FLAGS, OPERATOR_FLAGS, field_arguments, field_of_flag
from vllm_operator.vllm.cli_parser import Argument
from vllm_operator.vllm.known_release import KnownRelease, known_release
from vllm_operator.vllm.releases import FlagSpec
from vllm_operator.vllm.removed_flags import explain_missing_flag

EXTENSIBLE = frozenset(
    {"--attention-backend", "--device", "--load-format", "--quantization", "--reasoning-parser", "--tool-call-parser"}
)
"""Flags whose choices a plugin may extend."""

VARIABLE = "$("
"""Start of a variable that the kubelet replaces: its value is unknown here."""

_SIZE = re.compile(r"\d+(?:\.\d+)?[kmgt]|\d+[KMGT]")


def flags_exist(spec: Spec) -> Iterator[Problem]:
    """Refuse fields and flags that this vLLM does not have, and name the one that was probably meant."""
    release = known_release(spec)
    if release is None or not release.complete:
        return
    for place, argument in arguments_with_fields(spec, release):
        if argument.flag is None and argument.written and not _is_left_to_others(argument, release):
            yield Problem("UnknownFlag", f"{place}: {_unknown_flag(argument, release)}")


def values_fit(spec: Spec) -> Iterator[Problem]:
    """Refuse missing values, values of switches, and values that vLLM's parser cannot convert."""
    release = known_release(spec)
    if release is None or not release.measured:
        return
    found = list(arguments_with_fields(spec, release))
    if any(_full_name(argument) in OPERATOR_FLAGS for _, argument in found):
        return  # Another check refuses these flags, whatever their values are.
    for place, argument in found:
        if error := _misuse(argument) if argument.written else _stray_value(argument):
            yield Problem("InvalidArgument", f"{place}: {error}")


def unknown_flags_of_newer(spec: Spec) -> tuple[str, ...]:
    """Return the flags that no measured release has, for a vLLM that is newer than all of them."""
    release = known_release(spec)
    if release is None or not release.newest:
        return ()
    found = (argument for _, argument in arguments_with_fields(spec, release))
    return tuple(argument.written for argument in found if argument.written and not argument.flag)


def arguments_with_fields(spec: Spec, release: KnownRelease) -> Iterator[tuple[str, Argument]]:
    """Yield the arguments of a spec, each with the path of its field or item."""
    for flag, value in set_flags(spec.engine).items():
        for argument in release.cli_parser.parse(field_arguments(flag, value)):
            yield field_of_flag(flag), argument
    for argument in release.cli_parser.parse(spec.engine.extra_args):
        if VARIABLE not in argument.written:
            yield f"spec.engine.extraArgs[{argument.position}]", argument


def _is_left_to_others(argument: Argument, release: KnownRelease) -> bool:
    """Return whether another check reports the argument, or the neighbours of an unmeasured release disagree on it."""
    return _full_name(argument) in OPERATOR_FLAGS or (bool(argument.candidates) and not release.measured)


def _full_name(argument: Argument) -> str:
    return argument.flag.name if argument.flag else argument.written


def _unknown_flag(argument: Argument, release: KnownRelease) -> str:
    flag = argument.written.partition(".")[0]
    if explanation := explain_missing_flag(flag):
        return f"{release.name} has no {flag}, {explanation}"
    if argument.candidates:
        return f"{flag} could be {_alternatives(argument.candidates)}: write the whole name"
    positive = f"--{flag.removeprefix('--no-')}"
    if flag.startswith("--no-") and positive in release.flags:
        return f"{positive} has no --no- form in {release.name}: remove it"
    close = get_close_matches(flag, release.cli_parser.names, n=1, cutoff=0.7)
    return f"{release.name} has no {flag}: " + (f"did you mean {close[0]}?" if close else "correct or remove it")


def _alternatives(names: tuple[str, ...]) -> str:
    shown = [*names[:4], *(["others"] if len(names) > 4 else [])]
    return f"{', '.join(shown[:-1])} or {shown[-1]}"


def _stray_value(argument: Argument) -> str:
    value = argument.values[0]
    # Another check reports `--flag value` in one item, and a variable may hold a flag.
    return "" if value.startswith("-") or VARIABLE in value else f'"{_short(value)}" belongs to no flag: remove it'


def _misuse(argument: Argument) -> str:
    flag = argument.flag
    if flag is None or argument.key or flag.name in COUNT_FLAGS:
        return ""
    if argument.negated or flag.nargs == 0:
        return f"{argument.written} is a switch and takes no value" if argument.bound else ""
    least = flag.nargs if isinstance(flag.nargs, int) else 1 if flag.nargs == "+" else 0
    if len(argument.values) < least:
        return f"{argument.written} needs a value"
    return next(filter(None, (_refused_value(flag, value) for value in argument.values)), "")


def _refused_value(flag: FlagSpec, value: str) -> str:
    if value in flag.keywords or VARIABLE in value:
        return ""
    fits, name = KINDS[flag.kind]
    if not fits(value):
        return f'{flag.name} needs {name}, not "{_short(value)}"'
    if flag.choices and flag.name not in EXTENSIBLE and not _is_choice(flag, value):
        return f'{flag.name} must be one of {", ".join(flag.choices)}, not "{_short(value)}"'
    return ""


def _is_choice(flag: FlagSpec, value: str) -> bool:
    if value in {"", "None"}:
        return "None" in flag.choices
    written = str(int(value)) if flag.kind == "integer" else value.lower()
    return written in {choice.lower() for choice in flag.choices}


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."


def _accepts(convert: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            convert(value)
        except (ValueError, RecursionError):
            return False
        return True

    return check


_is_integer = _accepts(int)

KINDS: dict[str, tuple[Callable[[str], bool], str]] = {
    "text": (lambda _: True, "a text"),
    "integer": (_is_integer, "a whole number"),
    "size": (lambda value: _is_integer(value) or bool(_SIZE.fullmatch(value.strip())), "a whole number, such as 8192"),
    "number": (_accepts(float), "a number"),
    "json": (_accepts(json.loads), "JSON"),
}
"""Kind of value -> a test of a text, and the name of the kind in messages."""
