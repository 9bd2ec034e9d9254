"""Scale by the operator itself: servers with `source: operator`, and servers that scale to zero and from it.

The number is written to `/scale` of the VLLMServer, as any other autoscaler would, and by the leader alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.names import GROUP
from vllm_operator.api.replica_bounds import ReplicaBounds, may_sleep, plain_bounds
from vllm_operator.controller.replica_calculator import ScalingHistory, replicas_for_load
from vllm_operator.desired.autoscaler import scaling_behavior
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.errors import ApiError
from vllm_operator.kube.fields import get, get_str, parse_time
from vllm_operator.kube.key import Key
from vllm_operator.kube.types import Object
from vllm_operator.metrics_api.readings import ServerLoad

SYNC_SECONDS = 5.0
"""Seconds between two computations for one server."""
TICK_SECONDS = 0.5
"""Seconds between two looks for servers that are due."""
WAKE_ANNOTATION = f"{GROUP}/wake"
"""Annotation with the time of a request (RFC 3339) that came while the server slept."""
NO_LOAD = (
    "none of the serving replicas reports how many requests run and wait: remove --disable-log-stats, and check that "
    "image runs vLLM"
)

logger = logging.getLogger(__name__)

WriteReplicas = Callable[[ServerSummary, int], Awaitable[None]]
"""Writes the number of replicas of a server to its `/scale`."""


class Loads(Protocol):
    """Reads the load of servers."""

    async def load(self, key: Key, max_age: float = ...) -> ServerLoad:
        """Return the load of one server."""


@dataclass
class _Scaled:
    """One server that the operator scales.

    Attributes:
        server: its summary.
        scaling: the scaling that its spec asks for.
        replicas: its `spec.replicas`.
        annotation: the text of its wake-up annotation.
        wake: time of the last request that the annotation names, not later than when the operator first saw it.
        active: time of its last request, by the monotonic clock.
        finished: requests that its replicas had finished at the last look; None before the first.
        due: time of the next look.
        problem: why it cannot be scaled.
        requests: pod -> its requests at the last look.
        busy: whether a look runs.
    """

    server: ServerSummary
    scaling: Autoscaling
    replicas: int
    annotation: str
    wake: datetime | None
    active: float
    finished: float | None = None
    due: float = 0.0
    problem: str = ""
    requests: Mapping[str, float] = field(default_factory=dict)
    history: ScalingHistory = field(default_factory=ScalingHistory)
    busy: bool = False

    @property
    def bounds(self) -> ReplicaBounds:
        """The bounds in force."""
        return self.server.bounds.bounds if self.server.bounds else plain_bounds(self.scaling)


class Scaler:
    """Scale the servers that ask for it, while this process leads.

    Args:
        loads: reads the load.
        write: writes the number of replicas.
        may_write: returns whether this process leads.
        on_change: called with the key of a server whose problem has changed; must not block.
        clock: monotonic seconds.
        now: the present time in UTC.
    """

    def __init__(
        self,
        loads: Loads,
        write: WriteReplicas,
        may_write: Callable[[], bool],
        on_change: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._loads = loads
        self._write = write
        self._may_write = may_write
        self._on_change = on_change
        self._clock = clock
        self._now = now
        self._servers: dict[Key, _Scaled] = {}

    def observe(self, key: Key, server: ServerSummary, body: Object) -> None:
        """Take in the present spec and annotations of a server; a problem of its spec leaves it alone."""
        scaling = server.scaling
        if scaling is None or server.paused or scaling.paused or not is_scaled_here(scaling):
            self.forget(key)
            return
        replicas = get(body, "spec", "replicas")
        count = replicas if isinstance(replicas, int) else 1
        annotation = get_str(body, "metadata", "annotations", WAKE_ANNOTATION)
        known = self._servers.get(key)
        if known is None or known.server.uid != server.uid:
            wake = self._wake_time(annotation)
            self._servers[key] = _Scaled(server, scaling, count, annotation, wake, self._clock())
            return
        self._update(known, server, scaling, count, annotation)

    def _wake_time(self, annotation: str) -> datetime | None:
        """Return the time that an annotation names; one of the future, by a wrong clock, counts as the present."""
        wake = parse_time(annotation)
        return min(wake, self._now()) if wake else None

    def _update(
        self, known: _Scaled, server: ServerSummary, scaling: Autoscaling, replicas: int, annotation: str
    ) -> None:
        """Take in the present spec; new replicas, bounds or a new wake-up need a look at once."""
        before = known.replicas, known.annotation, known.bounds
        if replicas and not known.replicas:
            known.active, known.finished = self._clock(), None
        if annotation != known.annotation:
            known.annotation, known.wake = annotation, self._wake_time(annotation)
        known.server, known.scaling, known.replicas = server, scaling, replicas
        if before != (known.replicas, known.annotation, known.bounds):
            known.due = 0.0

    def forget(self, key: Key) -> None:
        """Forget a server that is gone, or that something else scales."""
        self._servers.pop(key, None)

    def problem(self, key: Key) -> str:
        """Return why a server cannot be scaled; empty when it can."""
        known = self._servers.get(key)
        return known.problem if known else ""

    def requests(self, key: Key) -> Mapping[str, float]:
        """Return pod -> its requests at the last look, which a scale-down was computed from."""
        known = self._servers.get(key)
        return known.requests if known else {}

    async def run(self) -> None:
        """Scale until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._may_write():
                await self.scale_due()

    async def scale_due(self) -> None:
        """Scale every server that is due."""
        now = self._clock()
        due = [(key, one) for key, one in self._servers.items() if one.due <= now]
        for _, one in due:
            one.due = now + SYNC_SECONDS
        await asyncio.gather(*(self._try_to_scale(key, one) for key, one in due))

    async def scale_now(self, key: Key) -> None:
        """Scale one server at once, since its load needs more replicas."""
        if (one := self._servers.get(key)) is not None:
            one.due = self._clock() + SYNC_SECONDS
            await self._try_to_scale(key, one)

    async def _try_to_scale(self, key: Key, one: _Scaled) -> None:
        """Scale one server, unless a look at it runs: two at once would count one change twice."""
        if one.busy:
            return
        one.busy = True
        try:
            await self._scale(key, one)
        except ApiError as error:
            logger.warning("%s: could not be scaled, will try again: %s", key, error)
        except Exception:
            logger.exception("%s: could not be scaled", key)
        finally:
            one.busy = False

    async def _scale(self, key: Key, one: _Scaled) -> None:
        """Wake a server that sleeps, put one to sleep that is idle, and scale one with `source: operator`."""
        if one.replicas == 0 and one.bounds.min_replicas > 0:
            await self._set(one, one.bounds.min_replicas, "woken by its schedule")
            return
        if one.replicas == 0:
            if self._seconds_since_wake(one) < one.scaling.idle_seconds:
                await self._set(one, 1, "woken by its annotation")
            return
        load = await self._loads.load(key)
        one.requests = load.requests
        problem = NO_LOAD if load.serving and not load.loads else ""
        if problem != one.problem:
            one.problem = problem
            self._on_change(key)
        if one.bounds.min_replicas == 0 and self._is_idle(one, load):
            await self._set(one, 0, f"put to sleep after {one.scaling.idle_seconds} s without a request")
        elif one.scaling.source == "operator" and load.loads:
            await self._follow(one, load)

    def _seconds_since_wake(self, one: _Scaled) -> float:
        return (self._now() - one.wake).total_seconds() if one.wake else float("inf")

    def _is_idle(self, one: _Scaled, load: ServerLoad) -> bool:
        """Return whether no request has come for the time that the spec names; a silent replica may have one."""
        loads, now = load.loads, self._clock()
        finished = sum(item.finished for item in loads)
        is_known = bool(load.serving) and len(loads) == load.serving
        is_quiet = is_known and not any(item.requests for item in loads) and one.finished == finished
        one.finished = finished if is_known else None
        if not is_quiet:
            one.active = now
        return min(now - one.active, self._seconds_since_wake(one)) >= one.scaling.idle_seconds

    async def _follow(self, one: _Scaled, load: ServerLoad) -> None:
        """Set the replicas that the load asks for, within the behavior and the bounds."""
        scaling, current, bounds = one.scaling, max(one.replicas, 1), one.bounds
        wanted = replicas_for_load(load.loads, current, scaling)
        now = self._clock()
        one.history.begin(current, now - SYNC_SECONDS)
        allowed = one.history.limit(current, wanted, scaling_behavior(scaling), now)
        # Only idleness puts a server to sleep.
        bounded = min(max(allowed, bounds.min_replicas, 1), bounds.max_replicas)
        if bounded != one.replicas:
            await self._set(one, bounded, f"{load_text(load)}, {scaling.target_running_requests} per replica wanted")
            one.history.record(bounded - current, now)

    async def _set(self, one: _Scaled, replicas: int, reason: str) -> None:
        await self._write(one.server, replicas)
        logger.info("%s: %d replicas instead of %d: %s", one.server.key, replicas, one.replicas, reason)
        # The watch event of the write comes later; until then another number must not be computed from the old one.
        one.replicas, one.active, one.finished = replicas, self._clock(), None


def is_scaled_here(scaling: Autoscaling) -> bool:
    """Return whether the operator itself writes the number of replicas."""
    return scaling.source == "operator" or (may_sleep(scaling) and scaling.source != "keda")


def load_text(load: ServerLoad) -> str:
    """Return the load in words."""
    requests, replicas = sum(item.requests for item in load.loads), len(load.loads)
    return f"{requests:g} requests at {replicas} replica{'' if replicas == 1 else 's'}"
