"""Values of vLLM's flags: which its parser refuses, and how to write them instead."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from vllm_operator.api.engine import flag_fields
from vllm_operator.validation.shell_quotes import without_quotes
from vllm_operator.vllm.arguments import COUNT_FLAGS, field_of_flag
from vllm_operator.vllm.cli_parser import Argument
from vllm_operator.vllm.releases import FlagSpec

EXTENSIBLE = frozenset(
    {"--attention-backend", "--device", "--load-format", "--quantization", "--reasoning-parser", "--tool-call-parser"}
)
"""Flags whose choices a plugin may extend."""

VARIABLE = "$("
"""Start of a variable that the kubelet replaces: its value is unknown here."""

_SIZE = re.compile(r"\d+(?:\.\d+)?[kmgt]|\d+[KMGT]")
_TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def misuse(argument: Argument) -> str:
    """Return why vLLM's parser refuses the values of a flag; empty for values that it takes."""
    flag = argument.flag
    if flag is None or argument.key or flag.name in COUNT_FLAGS:
        return ""
    if argument.negated or flag.nargs == 0:
        return _switch_with_value(argument, flag, argument.values[0]) if argument.bound else ""
    least = flag.nargs if isinstance(flag.nargs, int) else 1 if flag.nargs == "+" else 0
    if len(argument.values) < least:
        return f"{argument.written} needs a value"
    return next(filter(None, (_refused_value(flag, value) for value in argument.values)), "")


def stray_value(argument: Argument, before: Argument | None) -> str:
    """Return why a value belongs to no flag; `before` is the argument before it."""
    value = argument.values[0]
    # Another check reports `--flag value` in one item, and a variable may hold a flag.
    if value.startswith("-") or VARIABLE in value:
        return ""
    flag = before.flag if before else None
    if before and flag and flag.nargs == 0 and not before.values and value.lower() in _TRUTH:
        return _switch_with_value(before, flag, value)
    return f'"{shortened(value)}" belongs to no flag: remove it'


def _switch_with_value(argument: Argument, flag: FlagSpec, value: str) -> str:
    """Name the field, or the form of the switch, that stands for the value."""
    refusal = f"{argument.written} is a switch and takes no value"
    wanted = _TRUTH.get(without_quotes(value).strip().lower())
    if wanted is None:
        return refusal
    wanted = wanted is not argument.negated
    if flag.name in flag_fields().values():
        return f"{refusal}: set {field_of_flag(flag.name)}: {str(wanted).lower()} instead"
    if wanted:
        return f"{refusal}: write {flag.name}"
    return f"{refusal}: " + (f"write --no-{flag.name.removeprefix('--')}" if flag.negatable else "remove it")


def _refused_value(flag: FlagSpec, value: str) -> str:
    error, bare = _refusal(flag, value), without_quotes(value)
    if bare == value or (error and _refusal(flag, bare)):
        return error
    if not error and not (bare.startswith(("{", "[")) and _is_json(bare)):
        return ""
    reason = error or f"{flag.name} cannot read {shortened(value)}"
    return f"{reason}: remove the quotes around it, which only a shell reads"


def _refusal(flag: FlagSpec, value: str) -> str:
    if value in flag.keywords or VARIABLE in value:
        return ""
    fits, name = KINDS[flag.kind]
    if not fits(value):
        return f'{flag.name} needs {name}, not "{shortened(value)}"'
    if flag.choices and flag.name not in EXTENSIBLE and not _is_choice(flag, value):
        return f'{flag.name} must be one of {", ".join(flag.choices)}, not "{shortened(value)}"'
    return ""


def _is_choice(flag: FlagSpec, value: str) -> bool:
    if value in {"", "None"}:
        return "None" in flag.choices
    written = str(int(value)) if flag.kind == "integer" else value.lower()
    return written in {choice.lower() for choice in flag.choices}


def shortened(value: str) -> str:
    """Return a value as a message quotes it."""
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
_is_json = _accepts(json.loads)

KINDS: dict[str, tuple[Callable[[str], bool], str]] = {
    "text": (lambda _: True, "a text"),
    "integer": (_is_integer, "a whole number"),
    "size": (lambda value: _is_integer(value) or bool(_SIZE.fullmatch(value.strip())), "a whole number, such as 8192"),
    "number": (_accepts(float), "a number"),
    "json": (_is_json, "JSON"),
}
"""Kind of value -> a test of a text, and the name of the kind in messages."""
