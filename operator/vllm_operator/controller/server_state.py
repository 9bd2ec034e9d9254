"""The state that the operator keeps about each server between two reconciles."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from vllm_operator.api.names import UNREADABLE
from vllm_operator.apply.write_history import WriteHistory
from vllm_operator.controller.former_template import former_state, lacks_drain
from vllm_operator.controller.namespace_budget import NamespaceBudget
from vllm_operator.controller.spec_rate_limit import SpecRateLimiter
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.types import Object
from vllm_operator.status.replicas.pod_memo import PodMemo


@dataclass
class ServerState:
    """The state of one server between two reconciles.

    Attributes:
        writes: the earlier writes of its children.
        rate_limiter: limits how often its spec is applied.
        pods: results about its pods; PodMemo bounds the memory for each.
        rollout_failure: why its rollout failed in the last reconcile; empty when it did not.
        held_since: when a change of its pods began to wait until its replica is idle; None while none waits.
        settling_since: when its status began to wait for Kubernetes' controllers; None while it does not wait.
    """

    writes: WriteHistory
    rate_limiter: SpecRateLimiter
    pods: PodMemo = field(default_factory=PodMemo)
    rollout_failure: str = ""
    held_since: datetime | None = None
    settling_since: datetime | None = None
    _desired: DesiredState | None = None
    _desired_for: object = None
    """Everything that the desired state depends on."""
    _is_former: bool = False
    """The desired state is that of an older operator: see `former_template.py`."""
    _reported: str = ""
    """Version that the replicas reported; the desired state of few servers depends on it."""

    def desired(
        self, server: Object, installed: frozenset[str], runbooks: str, deployment: Object | None, now: datetime
    ) -> DesiredState:
        """Return the desired state of a VLLMServer, computed again only when something that it depends on changed.

        Args:
            server: the VLLMServer as the API server sends it.
            installed: optional kinds that the cluster has.
            runbooks: URL of the runbooks that alerts link to, `%s` for the alert.
            deployment: its live Deployment; None while it does not exist.
            now: the present time, on which the bounds of a schedule depend.
        """
        metadata = server["metadata"]
        depends_on = (metadata["uid"], metadata.get("generation"), server.get(UNREADABLE), installed, runbooks)
        reported = get_str(server, "status", "version")
        # A version stays known while no replica answers.
        is_new_report = bool(self._desired and self._desired.follows_report and reported not in ("", self._reported))
        if (
            self._desired is None
            or self._desired_for != depends_on
            or is_new_report
            or not _bounds_hold(self._desired, now)
            or self._template_changed(self._desired, deployment)
        ):
            self._desired, self._desired_for = desired_state(server, installed, runbooks, now=now), depends_on
            self._reported = reported
            former = former_state(
                self._desired, deployment, lambda: desired_state(server, installed, runbooks, drains=False, now=now)
            )
            self._is_former = former is not None
            self._desired = former or self._desired
        return self._desired

    def _template_changed(self, desired: DesiredState, deployment: Object | None) -> bool:
        """Return whether the live Deployment is no longer, or not yet, of the kind that `desired` was computed for."""
        if desired.drains:
            return lacks_drain(deployment)
        return self._is_former and not lacks_drain(deployment)

    @property
    def computed(self) -> DesiredState | None:
        """The desired state that was computed last; None before the first."""
        return self._desired

    def settling_seconds(self, now: datetime) -> float:
        """Start to settle, unless that has begun already; return the seconds since then.

        A clock that was set back starts again at zero.
        """
        self.settling_since = min(self.settling_since or now, now)
        return (now - self.settling_since).total_seconds()


def _bounds_hold(desired: DesiredState, now: datetime) -> bool:
    bounds = desired.server.bounds
    return bounds is None or bounds.holds_at(now)


class ServerStates:
    """The states of all servers by key; a server without one gets a new one.

    Args:
        new_history: returns the empty write history of a new server.
        clock: monotonic time in seconds.
        owners: called with the key of a server that is gone, by which other objects forget it too.
    """

    def __init__(
        self,
        new_history: Callable[[], WriteHistory],
        clock: Callable[[], float],
        owners: Iterable[Callable[[Key], None]] = (),
    ) -> None:
        self._new_history = new_history
        self._clock = clock
        self._owners = tuple(owners)
        self._states: dict[Key, ServerState] = {}
        self._budget = NamespaceBudget(clock)

    def __getitem__(self, key: Key) -> ServerState:
        if key not in self._states:
            self._states[key] = ServerState(self._new_history(), SpecRateLimiter(self._clock))
        return self._states[key]

    def spec_delay(self, key: Key, version: Hashable) -> float:
        """Return 0 when this version of a server's spec may be applied now; else the seconds until it may.

        A new version needs computing time of its namespace, and a token of its server.
        """
        limiter = self[key].rate_limiter
        if not limiter.is_new(version):
            self._budget.forget(key)
            return 0.0
        return self._budget.delay(key) or limiter.delay(version)

    def desired(
        self,
        key: Key,
        server: Object,
        installed: frozenset[str],
        runbooks: str,
        deployment: Object | None,
        now: datetime,
    ) -> DesiredState:
        """Return the desired state of a VLLMServer, and charge its namespace for a new one; see `ServerState`."""
        state = self[key]
        former, began = state.computed, time.perf_counter()
        desired = state.desired(server, installed, runbooks, deployment, now)
        if desired is not former:
            self._budget.charge(key.namespace, time.perf_counter() - began)
        return desired

    def is_settling(self, key: Key) -> bool:
        """Return whether the status waits for Kubernetes' controllers, whose watch events come in bursts."""
        state = self._states.get(key)
        return state is not None and state.settling_since is not None

    def retry_failed_writes(self) -> None:
        """Send every failed write again in the next reconcile of its server: their common cause may be gone."""
        for state in self._states.values():
            state.writes.retry_failed()

    def forget(self, key: Key) -> None:
        """Forget a server that is gone, here and in every other object that holds state about it."""
        self._states.pop(key, None)
        self._budget.forget(key)
        for forget in self._owners:
            forget(key)
