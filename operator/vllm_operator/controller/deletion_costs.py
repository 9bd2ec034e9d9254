"""Choose by load which replicas a scale-down removes: `controller.kubernetes.io/pod-deletion-cost`.

Kubernetes removes the ready pods with the lowest cost first, and pods without the annotation count as 0. So the
operator marks only pods that are about to go, and writes nothing at rest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vllm_operator.api.names import MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.informers.pod_fields import DELETION_COST
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.informers.store import Store
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get, get_condition, get_int, get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import POD
from vllm_operator.kube.types import Object

VICTIM_COST = "-1"

MAX_MARKS = 50
"""Pods that are marked before one scale-down: each is a write, and a larger scale-down does not wait for all."""

SCALE_DOWN_NEAR = "ScaleDownStabilized"
"""Reason of the autoscaler's condition AbleToScale while it wants fewer replicas and waits for its stabilization
window (`pkg/controller/podautoscaler/horizontal.go`)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CostChanges:
    """Pods that get the cost of a victim, and pods that lose it."""

    mark: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()


NO_CHANGES = CostChanges()


def expected_removals(snapshot: Snapshot, wanted: int | None) -> int:
    """Return how many replicas are about to be removed.

    Args:
        snapshot: the objects of the server.
        wanted: replicas that the spec asks for; None while an autoscaler decides.
    """
    deployment = snapshot.deployment
    if deployment is None:
        return 0
    current = get_int(deployment, "spec", "replicas")
    if wanted is not None:
        return max(0, current - wanted)
    able = get_condition(snapshot.autoscaler, "AbleToScale")
    return int(current > 1 and get_str(able, "reason") == SCALE_DOWN_NEAR)


def cost_changes(pods: Iterable[Object], loads: Mapping[str, float], removals: int) -> CostChanges:
    """Return which pods to mark so that the least loaded ones are removed.

    Pods that are not Ready go first in any case. A pod whose load is unknown counts as busy: it may hold requests.

    Args:
        pods: the pods of the server.
        loads: pod name -> requests that run or wait in it.
        removals: replicas that are about to be removed.
    """
    living = [pod for pod in pods if not get_str(pod, "metadata", "deletionTimestamp")]
    ready = {get_str(pod, "metadata", "name"): pod for pod in living if _is_ready(pod)}
    count = min(removals - (len(living) - len(ready)), len(ready) - 1, MAX_MARKS)
    return _changes(ready, loads, count) if count > 0 else NO_CHANGES


def _changes(ready: Mapping[str, Object], loads: Mapping[str, float], count: int) -> CostChanges:
    marked = {name for name, pod in ready.items() if _cost(pod)}
    if not (marked or _differ(ready, loads)):
        return NO_CHANGES
    ordered = sorted(ready, key=lambda name: (loads.get(name, float("inf")), name not in marked, name))
    return CostChanges(
        mark=tuple(name for name in ordered[:count] if name in loads and name not in marked),
        clear=tuple(name for name in ordered[count:] if name in marked),
    )


def _is_ready(pod: Object) -> bool:
    return get_str(get_condition(pod, "Ready"), "status") == "True"


def _differ(names: Collection[str], loads: Mapping[str, float]) -> bool:
    """Return whether the loads give a reason to choose: they differ, or are known for some of the pods only."""
    known = [loads[name] for name in names if name in loads]
    return bool(known) and (len(known) < len(names) or min(known) < max(known))


def _cost(pod: Object) -> str:
    return get_str(get(pod, "metadata", "annotations"), DELETION_COST)


@dataclass(frozen=True)
class DeletionCosts:
    """Write the deletion costs of pods before a scale-down.

    Attributes:
        client: sends the patches.
        store: the caches, which receive the answers.
    """

    client: ApiClient
    store: Store

    async def prepare(self, key: Key, snapshot: Snapshot, wanted: int | None, loads: Mapping[str, float]) -> None:
        """Mark the least loaded pods when replicas are about to be removed.

        A failure does not hold back the scale-down: then Kubernetes chooses by itself.

        Args:
            key: the server's key.
            snapshot: its objects.
            wanted: replicas that the spec asks for; None while an autoscaler decides.
            loads: pod name -> requests that run or wait in it.
        """
        if not (removals := expected_removals(snapshot, wanted)):
            return
        changes = cost_changes(snapshot.pods, loads, removals)
        await asyncio.gather(
            *(self._write(key, name, VICTIM_COST) for name in changes.mark),
            *(self._write(key, name, None) for name in changes.clear),
        )

    async def _write(self, key: Key, pod: str, cost: str | None) -> None:
        patch = {"metadata": {"annotations": {DELETION_COST: cost}}}
        try:
            self.store.put(POD.name, await self.client.merge_patch(POD, key.namespace, pod, patch, MANAGER))
        except ApiError as error:
            logger.info("%s: the deletion cost of %s is not written: %s", key, pod, error)
