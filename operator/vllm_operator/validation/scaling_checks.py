"""Checks of `spec.autoscaling` that the CRD cannot express."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import extra_flags

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


def scaling_warnings(spec: Spec) -> Iterator[str]:
    """Return the parts of an accepted scaling that cannot work as they are."""
    scaling = spec.autoscaling
    if scaling is None:
        return
    if any(flag.name == _HIDES_METRICS for flag in extra_flags(spec)):
        yield (f"engine.extraArgs: {_HIDES_METRICS} hides the load, so that nothing scales: remove it")
    if _cannot_wake(scaling):
        yield (
            "autoscaling.keda: the load of the replicas is the only trigger, and cannot wake a server without any: add "
            "a trigger that sees waiting requests, such as one of a gateway, or set minReplicas: 1"
        )


def _cannot_wake(scaling: Autoscaling) -> bool:
    keda = scaling.keda
    return scaling.source == "keda" and scaling.min_replicas == 0 and keda is not None and not keda.triggers
