"""Checks of `spec.monitoring.tracing`."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.validation.flag_checks import NOT_JUDGED
from vllm_operator.vllm.arguments import extra_flags
from vllm_operator.vllm.known_release import known_release
from vllm_operator.vllm.tracing import TRACE_FLAGS, trace_arguments
from vllm_operator.vllm.version import vllm_version

FIRST_WITH_V1 = (0, 10)
"""First release whose present engine (V1) sends spans (vllm#20372); vLLM 0.9 falls back to its former engine."""

FIELD = "spec.monitoring.tracing"


def tracing_is_set_once(spec: Spec) -> Iterator[Problem]:
    """Refuse flags of tracing in extraArgs when `spec.monitoring.tracing` sets them."""
    if spec.monitoring.tracing is None:
        return
    for flag in extra_flags(spec):
        if flag.name in TRACE_FLAGS:
            yield Problem(
                "DuplicateArgument",
                f"spec.engine.extraArgs[{flag.position}]: {flag.name} is also set by {FIELD}: use {FIELD}."
                f"{TRACE_FLAGS[flag.name]}, and remove the argument",
            )


def tracing_flags_exist(spec: Spec) -> Iterator[Problem]:
    """Refuse tracing for a vLLM that has no flag for it."""
    release = known_release(spec)
    if release is None or not release.complete:
        return
    used = [argument for argument in trace_arguments(spec) if argument in TRACE_FLAGS]
    for flag in used:
        if flag not in release.flags:
            yield Problem(
                "UnknownFlag",
                f"{FIELD}.{TRACE_FLAGS[flag]}: {release.name} has no {flag}: remove the field{NOT_JUDGED}",
            )


def tracing_notes(spec: Spec) -> tuple[str, ...]:
    """Return a note for releases that trace with their former engine only."""
    version = vllm_version(spec)
    if spec.monitoring.tracing is None or version is None or version >= FIRST_WITH_V1:
        return ()
    return (
        f"{FIELD}: vLLM before 0.10 sends spans only with its former engine (V0), and falls back to it: it is slower, "
        "and its metrics differ",
    )
