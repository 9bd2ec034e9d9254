"""Refuse flags that the vLLM of a spec does not have, and values that its parser refuses.

The image may hold a fork or plugins, so a check accepts all that is in doubt: vLLM itself decides at its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from vllm_operator.api.engine import set_flags
from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.validation.flag_values import VARIABLE, misuse, shortened, stray_value
from vllm_operator.vllm.arguments import OPERATOR_FLAGS, field_arguments, field_of_flag
from vllm_operator.vllm.cli_parser import Argument
from vllm_operator.vllm.known_release import KnownRelease, known_release
from vllm_operator.vllm.removed_flags import explain_missing_flag

MOST_PROBLEMS = 10
"""Problems of one check that are named one by one; a spec may have 256 arguments, and a status has little room."""

MOST_HINTS = 3
"""Unknown flags for which a similar one is searched, at 7 ms each: people correct the first ones and see the rest."""

LONGEST_HINTED = 64
"""Characters of a flag for which a similar one is searched; vLLM's longest flag has 49."""

NOT_JUDGED = "; if the image's vLLM takes it, set spec.version: unknown"
"""End of each message that follows from the version of vLLM: a fork may have other flags and values."""


def flags_exist(spec: Spec) -> Iterator[Problem]:
    """Refuse fields and flags that this vLLM does not have, and name the one that was probably meant."""
    release = known_release(spec)
    if release is None or not release.complete:
        return
    unknown = [
        (place, argument)
        for place, argument in arguments_with_fields(spec, release)
        if argument.flag is None and argument.written and not _is_left_to_others(argument, release)
    ]
    for number, (place, argument) in enumerate(unknown[:MOST_PROBLEMS]):
        message = _unknown_flag(argument, release, hint=number < MOST_HINTS)
        yield Problem("UnknownFlag", f"{place}: {message}{NOT_JUDGED}")
    if more := unknown[MOST_PROBLEMS:]:
        yield Problem("UnknownFlag", f"spec.engine.extraArgs: {release.name} has none of {len(more)} further flags")


def values_fit(spec: Spec) -> Iterator[Problem]:
    """Refuse missing values, values of switches, and values that vLLM's parser cannot convert."""
    release = known_release(spec)
    if release is None or not release.measured:
        return
    found = list(arguments_with_fields(spec, release))
    if any(_full_name(argument) in OPERATOR_FLAGS for _, argument in found):
        return  # Another check refuses these flags, whatever their values are.
    before = [None, *(argument for _, argument in found)]
    errors = [
        (place, error)
        for (place, argument), former in zip(found, before, strict=False)
        if (error := misuse(argument) if argument.written else stray_value(argument, former))
    ]
    for place, error in errors[:MOST_PROBLEMS]:
        yield Problem("InvalidArgument", f"{place}: {error}{NOT_JUDGED}")
    if more := errors[MOST_PROBLEMS:]:
        yield Problem("InvalidArgument", f"spec.engine.extraArgs: {len(more)} further values do not fit their flags")


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


def _unknown_flag(argument: Argument, release: KnownRelease, hint: bool) -> str:
    whole = argument.written.partition(".")[0]
    flag = shortened(whole)
    if explanation := explain_missing_flag(flag):
        return f"{release.name} has no {flag}, {explanation}"
    if argument.candidates:
        return f"{flag} could be {_alternatives(argument.candidates)}: write the whole name"
    positive = f"--{whole.removeprefix('--no-')}"
    if whole.startswith("--no-") and positive in release.flags:
        return f"{positive} has no --no- form in {release.name}: remove it"
    is_hinted = hint and len(whole) <= LONGEST_HINTED
    close = get_close_matches(whole, release.cli_parser.names, n=1, cutoff=0.7) if is_hinted else []
    return f"{release.name} has no {flag}: " + (f"did you mean {close[0]}?" if close else "correct or remove it")


def _alternatives(names: tuple[str, ...]) -> str:
    shown = [*names[:4], *(["others"] if len(names) > 4 else [])]
    return f"{', '.join(shown[:-1])} or {shown[-1]}"
