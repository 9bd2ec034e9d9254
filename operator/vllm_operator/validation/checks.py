"""Checks of a spec that the CRD cannot express: an ordered list, each with field, cause and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vllm_operator.api.engine import set_flags
from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.validation import kubernetes_checks, scaling_checks, slo_checks
from vllm_operator.validation.argument_checks import (
    config_file_warnings,
    engine_fits_one_pod,
    served_names_are_known,
)
from vllm_operator.validation.claim_checks import scaling_notes, surge_can_mount_cache
from vllm_operator.validation.device_notes import device_warnings
from vllm_operator.validation.flag_checks import MOST_PROBLEMS, flags_exist, values_fit
from vllm_operator.validation.scaling_checks import scaling_warnings
from vllm_operator.validation.shell_quotes import suggested_items
from vllm_operator.validation.tracing_checks import tracing_flags_exist, tracing_is_set_once, tracing_notes
from vllm_operator.validation.version_checks import entrypoint_warnings, version_warnings
from vllm_operator.vllm.arguments import (
    ALL_ADDRESSES,
    API_KEY,
    HOST_FLAG,
    MODEL_FLAGS,
    OPERATOR_FLAGS,
    engine_values,
    extra_flags,
    field_of_flag,
)
from vllm_operator.vllm.flags import SHORT_OPTIONS

Check = Callable[[Spec], Iterator[Problem]]


def spec_problems(spec: Spec) -> tuple[Problem, ...]:
    """Return all problems of a spec, in the order of the checks."""
    found: list[Problem] = []
    for check in CHECKS:
        try:
            found.extend(check(spec))
        except InvalidSpecError as error:
            found.append(Problem(error.reason, error.message))
    return tuple(dict.fromkeys(found))


def spec_warnings(spec: Spec, reported: str = "") -> tuple[str, ...]:
    """Return the parts of an accepted spec that could not be checked, and why.

    Args:
        spec: the spec.
        reported: version that the replicas report, where it is the only source; empty while none does.
    """
    return (
        *entrypoint_warnings(spec),
        *version_warnings(spec, reported),
        *config_file_warnings(spec),
        *device_warnings(spec),
        *tracing_notes(spec),
        *scaling_warnings(spec),
        # A server with zero replicas is one that something else scales.
        *(scaling_notes(spec) if spec.replicas == 0 and not spec.autoscaling else ()),
    )


def arguments_are_single_items(spec: Spec) -> Iterator[Problem]:
    """Refuse `--flag value` in one item: vLLM would read it as one unknown flag."""
    found = [(place, item) for place, item in enumerate(spec.engine.extra_args) if _is_flag_with_value(item)]
    for position, argument in found[:MOST_PROBLEMS]:
        suggestion = suggested_items(argument)
        yield Problem(
            "InvalidArgument",
            f"spec.engine.extraArgs[{position}]: {_quoted(argument)} is one item with a space: "
            + (f"write {suggestion}" if suggestion else "write the flag, = and its value, without quotes of a shell"),
        )
    if more := found[MOST_PROBLEMS:]:
        yield Problem("InvalidArgument", f"spec.engine.extraArgs: {len(more)} further items hold a flag and its value")


def _is_flag_with_value(item: str) -> bool:
    flag, separator, _ = item.partition(" ")
    return bool(separator) and "=" not in flag and (flag.startswith("--") or flag in SHORT_OPTIONS)


def flags_are_set_once(spec: Spec) -> Iterator[Problem]:
    """Refuse a flag in extraArgs whose field is also set."""
    fields = set_flags(spec.engine)
    for flag in extra_flags(spec):
        if flag.name in fields or flag.name in _model_flags(spec):
            yield Problem(
                "DuplicateArgument",
                f"spec.engine.extraArgs[{flag.position}]: {flag.name} is also set by {field_of_flag(flag.name)}: "
                "remove one of the two",
            )


def _model_flags(spec: Spec) -> set[str]:
    return {flag for flag, name in MODEL_FLAGS.items() if getattr(spec.model, name)}


def operator_flags_are_absent(spec: Spec) -> Iterator[Problem]:
    """Refuse flags that another field sets, or that would hide vLLM from the probes."""
    for flag in extra_flags(spec):
        if flag.name == HOST_FLAG and flag.value in ALL_ADDRESSES:
            continue
        if flag.name in OPERATOR_FLAGS:
            yield Problem(
                "InvalidArgument",
                f"spec.engine.extraArgs[{flag.position}]: {flag.name} is not allowed here: {OPERATOR_FLAGS[flag.name]}",
            )


def served_names_are_no_flags(spec: Spec) -> Iterator[Problem]:
    """Refuse a name with a leading dash among several: vLLM would read it as a flag, and `=` binds only one value."""
    names = spec.model.served_names or []
    for position, name in enumerate(names):
        if name.startswith("-") and len(names) > 1:
            yield Problem(
                "InvalidArgument",
                f"spec.model.servedNames[{position}]: {_quoted(name)} begins with a dash: rename it, or make it the "
                "only name",
            )


def product_needs_an_accelerator(spec: Spec) -> Iterator[Problem]:
    """Refuse a product without an accelerator: no resource determines its node label."""
    if spec.accelerator.product and not spec.accelerator.resource_name:
        yield Problem(
            "InvalidAccelerator",
            "spec.accelerator.product: a product needs an accelerator: set accelerator.resourceName, or choose nodes "
            "by scheduling.nodeSelector",
        )


def api_key_is_in_a_secret(spec: Spec) -> Iterator[Problem]:
    """Refuse an API key as a plain value: the operator could not read it, and could not probe the replicas."""
    for variable in spec.engine.env:
        secret = variable.value_from.secret_key_ref if variable.value_from else None
        if variable.name == API_KEY and secret is None:
            yield Problem(
                "InvalidEnvironment",
                f"spec.engine.env[{API_KEY}]: use spec.security.apiKeySecretRef, which keeps the key out of the "
                "manifest",
            )


def target_is_reachable(spec: Spec) -> Iterator[Problem]:
    """Refuse a target that requests reach only when some wait, also with --max-num-seqs in extraArgs."""
    limit = engine_values(spec).max_num_seqs
    if spec.autoscaling and limit is not None and spec.autoscaling.target_running_requests >= limit:
        yield Problem(
            "UnreachableTarget",
            f"spec.autoscaling.targetRunningRequests: {spec.autoscaling.target_running_requests} must be below "
            f"--max-num-seqs ({limit}), the most requests that a replica runs: lower the target",
        )


def environment_has_one_source(spec: Spec) -> Iterator[Problem]:
    """Refuse variables with a value and valueFrom, before Kubernetes refuses the whole Deployment."""
    for variable in spec.engine.env:
        if variable.value and variable.value_from:
            yield Problem(
                "InvalidEnvironment",
                f"spec.engine.env[{variable.name}]: has both value and valueFrom: remove one of the two",
            )


def _quoted(text: str, limit: int = 80) -> str:
    return f'"{text if len(text) <= limit else text[: limit - 3] + "..."}"'


CHECKS: tuple[Check, ...] = (
    arguments_are_single_items,
    flags_are_set_once,
    operator_flags_are_absent,
    engine_fits_one_pod,
    served_names_are_known,
    flags_exist,
    values_fit,
    tracing_is_set_once,
    tracing_flags_exist,
    served_names_are_no_flags,
    product_needs_an_accelerator,
    target_is_reachable,
    environment_has_one_source,
    api_key_is_in_a_secret,
    surge_can_mount_cache,
    *slo_checks.CHECKS,
    *scaling_checks.CHECKS,
    *kubernetes_checks.CHECKS,
)
