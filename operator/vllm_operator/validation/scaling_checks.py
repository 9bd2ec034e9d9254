"""Checks of `spec.autoscaling` that the CRD cannot express."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.problem import Problem
from vllm_operator.api.replica_bounds import ScheduleError, all_bounds, check_window, may_sleep
from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import engine_values, extra_flags

_SOME_DAY = datetime(2025, 1, 1, tzinfo=UTC)
"""Day from which a start and an end are looked for: whether one comes at all does not depend on it."""

SMALLEST_BATCH = 256
"""Requests that vLLM runs at once where neither maxNumSeqs nor a large GPU raises it (`get_batch_defaults`)."""

_DEFAULT_IDLE_SECONDS = Autoscaling.model_fields["idle_seconds"].default

_HIDES_METRICS = "--disable-log-stats"


def behavior_is_consistent(spec: Spec) -> Iterator[Problem]:
    """Refuse a direction that is disabled and has policies, and both directions disabled."""
    behavior = spec.autoscaling.behavior if spec.autoscaling else None
    if behavior is None:
        return
    directions = {"scaleUp": behavior.scale_up, "scaleDown": behavior.scale_down}
    for name, rules in directions.items():
        path = f"spec.autoscaling.behavior.{name}"
        if rules is None:
            continue
        if rules.select_policy == "Disabled" and rules.policies:
            yield Problem(
                "ContradictoryBehavior",
                f"{path}: selectPolicy: Disabled forbids what the policies allow: remove one of the two",
            )
    if all(rules is not None and rules.select_policy == "Disabled" for rules in directions.values()):
        yield Problem(
            "ContradictoryBehavior",
            "spec.autoscaling.behavior: both directions are Disabled, so nothing would ever scale: enable one, or use "
            "autoscaling.paused: true",
        )


def bounds_are_ordered(spec: Spec) -> Iterator[Problem]:
    """Refuse bounds that cross; the API server checks only those that a request changes."""
    scaling = spec.autoscaling
    for position, bounds in enumerate(all_bounds(scaling) if scaling else ()):
        if bounds.min_replicas > bounds.max_replicas:
            path = f"spec.autoscaling.schedule[{position - 1}]" if position else "spec.autoscaling"
            yield Problem(
                "InvalidBounds",
                f"{path}.minReplicas: {bounds.min_replicas} exceeds maxReplicas ({bounds.max_replicas}): lower "
                "minReplicas or raise maxReplicas",
            )


def schedule_is_readable(spec: Spec) -> Iterator[Problem]:
    """Refuse windows whose time zone or cron expressions cannot be read, or never come."""
    for position, window in enumerate(spec.autoscaling.schedule if spec.autoscaling else ()):
        try:
            check_window(window, _SOME_DAY)
        except ScheduleError as error:
            path = f"spec.autoscaling.schedule[{position}].{error.field}"
            yield Problem("InvalidSchedule", f"{path}: {error}")


def fast_path_can_work(spec: Spec) -> Iterator[Problem]:
    """Refuse a fast path that something else forbids."""
    scaling = spec.autoscaling
    if scaling is None or not scaling.fast_path:
        return
    if scaling.source == "keda":
        yield Problem(
            "FastPathImpossible",
            "spec.autoscaling.fastPath: KEDA owns the autoscaler of source: keda, whose fewest replicas the operator "
            "cannot raise: remove fastPath, or choose source: builtin or operator",
        )
    rules = scaling.behavior.scale_up if scaling.behavior else None
    if rules is not None and rules.select_policy == "Disabled":
        yield Problem(
            "ContradictoryBehavior",
            "spec.autoscaling.fastPath: behavior.scaleUp.selectPolicy: Disabled forbids to add replicas: remove one of "
            "the two",
        )


def keda_has_a_trigger(spec: Spec) -> Iterator[Problem]:
    """Refuse a ScaledObject without triggers; the CRD accepts an empty list of them."""
    scaling = spec.autoscaling
    if scaling is None or scaling.source != "keda":
        return
    if scaling.keda is None or not (scaling.keda.server_address or scaling.keda.triggers):
        yield Problem(
            "NoTriggers",
            "spec.autoscaling.keda: source: keda needs keda.serverAddress, the URL of Prometheus, or keda.triggers",
        )


def scaling_warnings(spec: Spec) -> Iterator[str]:
    """Return the parts of an accepted scaling that cannot work as they are."""
    scaling = spec.autoscaling
    if scaling is None:
        return
    if engine_values(spec).max_num_seqs is None and scaling.target_running_requests >= SMALLEST_BATCH:
        yield (
            f"autoscaling.targetRunningRequests: {scaling.target_running_requests} may be more than a replica runs at "
            f"once, {SMALLEST_BATCH} on most GPUs: set engine.maxNumSeqs above it"
        )
    if any(flag.name == _HIDES_METRICS for flag in extra_flags(spec)):
        yield (f"engine.extraArgs: {_HIDES_METRICS} hides the load, so that nothing scales: remove it")
    if scaling.keda is not None and scaling.source != "keda":
        yield (
            f"autoscaling.keda: it counts only with source: keda, and source is {scaling.source}: set source: keda, or "
            "remove keda"
        )
    if scaling.idle_seconds != _DEFAULT_IDLE_SECONDS and not may_sleep(scaling):
        yield (
            "autoscaling.idleSeconds: the server never sleeps, since minReplicas is above 0: set minReplicas: 0, or "
            "remove idleSeconds"
        )
    if _cannot_wake(scaling):
        yield (
            "autoscaling.keda: the load of the replicas is the only trigger, and cannot wake a server without any: add "
            "a trigger that sees waiting requests, such as one of a gateway, or set minReplicas: 1"
        )


def _cannot_wake(scaling: Autoscaling) -> bool:
    keda = scaling.keda
    return scaling.source == "keda" and may_sleep(scaling) and keda is not None and not keda.triggers


CHECKS = (behavior_is_consistent, bounds_are_ordered, schedule_is_readable, fast_path_can_work, keda_has_a_trigger)
