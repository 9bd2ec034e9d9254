"""Compute replicas as the HorizontalPodAutoscaler does (kubernetes `pkg/controller/podautoscaler`). Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.kube.quantity import parse_quantity
from vllm_operator.probing.replica_load import RequestLoad

TOLERANCE = 0.1
"""Deviation of the load from its target that changes nothing: the default of Kubernetes."""

GAP_SECONDS = 60.0
"""Seconds without a recommendation after which the earlier ones say too little about the load."""

_RECOMMENDATIONS = 4096
"""Recommendations that are kept: an hour of one each second is the longest stabilization window."""


def replicas_for(loads: Sequence[float], missing: int, target: float, tolerance: float = TOLERANCE) -> int:
    """Return the replicas that bring the average load to the target.

    A replica that is missing counts as one without load when replicas are to be added, so that one which loads is not
    added again, and as one at the target when they are to be removed.

    Args:
        loads: the load of each replica that answers; at least one.
        missing: replicas that load, or do not answer.
        target: average load that is aimed at.
        tolerance: deviation that changes nothing.
    """
    count = len(loads) + missing
    ratio = sum(loads) / len(loads) / target
    if abs(1 - ratio) <= tolerance:
        return count
    filled = sum(loads) + (missing * target if ratio < 1 else 0.0)
    new_ratio = filled / (target * count)
    if abs(1 - new_ratio) <= tolerance or (ratio < 1) != (new_ratio < 1):
        return count
    return math.ceil(round(new_ratio * count, 6))


def replicas_for_load(loads: Sequence[RequestLoad], current: int, scaling: Autoscaling) -> int:
    """Return the replicas that the load of a server needs, by its requests and its KV caches.

    Args:
        loads: the load of each replica that answers; at least one.
        current: replicas that the server has or is about to have.
        scaling: the targets.
    """
    tolerance = scale_up_tolerance(scaling)
    missing = max(current - len(loads), 0)
    wanted = replicas_for([load.requests for load in loads], missing, scaling.target_running_requests, tolerance)
    caches = [load.kv_cache_usage for load in loads if load.kv_cache_usage is not None]
    if scaling.target_kv_cache_usage is not None and caches:
        missing = max(current - len(caches), 0)
        wanted = max(wanted, replicas_for(caches, missing, scaling.target_kv_cache_usage, tolerance))
    return wanted


def scale_up_tolerance(scaling: Autoscaling) -> float:
    """Return the deviation above the target that adds no replica."""
    rules = scaling.behavior.scale_up if scaling.behavior else None
    given = parse_quantity(rules.tolerance) if rules and rules.tolerance is not None else None
    return TOLERANCE if given is None else float(given)


@dataclass
class ScalingHistory:
    """Earlier recommendations and changes, for the stabilization windows and the policies of a behavior."""

    recommendations: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RECOMMENDATIONS))
    changes: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RECOMMENDATIONS))

    def limit(self, current: int, wanted: int, behavior: Mapping[str, Any], now: float) -> int:
        """Return what the behavior allows of a recommendation, which is remembered.

        Args:
            current: replicas now.
            wanted: recommended replicas.
            behavior: a complete behavior of autoscaling/v2.
            now: monotonic seconds.
        """
        self.recommendations.append((now, wanted))
        up, down = behavior["scaleUp"], behavior["scaleDown"]
        lowest = min(value for _, value in self._within(self.recommendations, up, 0, now))
        highest = max(value for _, value in self._within(self.recommendations, down, 300, now))
        steady = min(max(current, lowest), highest)
        if steady > current:
            return min(steady, self._most(current, up, now))
        return max(steady, self._fewest(current, down, now))

    def begin(self, current: int, now: float) -> None:
        """Take the present replicas for an earlier recommendation where none is known, as Kubernetes does.

        Otherwise a process that has just begun to scale would remove replicas without a stabilization window.

        Args:
            current: replicas now.
            now: the time of that recommendation, in monotonic seconds.
        """
        if not self.recommendations or now - self.recommendations[-1][0] > GAP_SECONDS:
            self.recommendations.append((now, current))

    def record(self, change: int, now: float) -> None:
        """Remember that replicas were added, or with a negative number removed."""
        self.changes.append((now, change))

    @staticmethod
    def _within(
        entries: deque[tuple[float, int]], rules: Mapping[str, Any], default: int, now: float
    ) -> list[tuple[float, int]]:
        window = rules.get("stabilizationWindowSeconds", default)
        return [entry for entry in entries if now - entry[0] <= window] or [entries[-1]]

    def _most(self, current: int, rules: Mapping[str, Any], now: float) -> int:
        """Return the most replicas that the policies allow to scale up to."""
        if rules.get("selectPolicy") == "Disabled":
            return current
        limits: list[int] = []
        for policy in rules["policies"]:
            before = current - self._changed(policy, now, 1)
            pods = policy["value"] if policy["type"] == "Pods" else math.ceil(before * policy["value"] / 100)
            limits.append(max(before + pods, current))
        return (min if rules.get("selectPolicy") == "Min" else max)(limits)

    def _fewest(self, current: int, rules: Mapping[str, Any], now: float) -> int:
        """Return the fewest replicas that the policies allow to scale down to."""
        if rules.get("selectPolicy") == "Disabled":
            return current
        limits: list[int] = []
        for policy in rules["policies"]:
            before = current + self._changed(policy, now, -1)
            kept = before - policy["value"] if policy["type"] == "Pods" else before * (1 - policy["value"] / 100)
            limits.append(min(int(kept), current))
        return (max if rules.get("selectPolicy") == "Min" else min)(limits)

    def _changed(self, policy: Mapping[str, Any], now: float, sign: int) -> int:
        """Return the replicas that were added, or with `sign` -1 removed, within the period of a policy."""
        recent = [change for at, change in self.changes if now - at < policy["periodSeconds"] and change * sign > 0]
        return abs(sum(recent))
