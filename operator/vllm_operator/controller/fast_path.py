"""Find servers whose load needs more replicas within about half a second, for `autoscaling.fastPath`.

An autoscaler of Kubernetes looks every 15 s. For servers that ask for it, the leader reads the load of a few replicas
every 0.4 s. Where that is above the target, it reads all of them, twice, and raises the fewest replicas of the
HorizontalPodAutoscaler to the number that they need; the next reconcile writes it. Since Kubernetes 1.37, the
autoscaler follows a change of its spec at once. With `source: operator`, the operator scales at once instead.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.replica_bounds import RaisedFloor, ReplicaBounds, plain_bounds
from vllm_operator.controller.floor import raised_before
from vllm_operator.controller.replica_calculator import ScalingHistory, replicas_for_load, scale_up_tolerance
from vllm_operator.controller.scaler import Loads, load_text
from vllm_operator.desired.autoscaler import scaling_behavior
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get_condition, get_int, get_str
from vllm_operator.kube.key import Key
from vllm_operator.metrics_api.readings import ServerLoad

TICK_SECONDS = 0.05
"""Seconds between two looks for servers that are due."""

LOOK_SECONDS = 0.4
"""Seconds between two looks at a server: half of it passes on average before a look meets a spike."""

CONFIRM_SECONDS = 0.1
"""Seconds between the two readings that must both need more replicas: requests that end within it are no queue."""

FRESH_SECONDS = 0.05
"""Age of a sample that a look may use."""

PEEKED = 2
"""Replicas of a server that a look reads; the others take their turn at the next ones."""

REQUESTS_PER_SECOND = 300
"""Most readings of all looks. At 0.2 ms of CPU time each, they take less than a tenth of a core; with more servers the
looks are rarer."""

ASKED_SECONDS = 45.0
"""Seconds after which the autoscaler has looked by itself, and reports whether it asks for as many: three syncs."""

SHORTEST_HOLD_SECONDS = 60.0
"""Least seconds for which the floor stays up without a load that needs it: four syncs of the autoscaler."""

DEFAULT_WINDOW_SECONDS = 300
"""Stabilization window of Kubernetes for scaling down, where a behavior names none."""

HELD_LOOK_SECONDS = 5.0
"""Seconds between two readings of all replicas while the floor is raised."""

TOO_FEW = "TooFewReplicas"
"""Reason of the autoscaler's condition ScalingLimited while it asks for fewer replicas than its minReplicas
(`pkg/controller/podautoscaler/horizontal.go`)."""

logger = logging.getLogger(__name__)


class PeekedLoads(Loads, Protocol):
    """Reads the load of servers, also of a few replicas."""

    async def peek(self, key: Key, turn: int, count: int, max_age: float) -> ServerLoad:
        """Return the load of a few replicas of one server."""


@dataclass
class _Watched:
    """One server with `fastPath`.

    Attributes:
        server: its summary.
        scaling: the scaling that its spec asks for.
        replicas: `spec.replicas` of its Deployment.
        asks: the reason of the autoscaler's condition ScalingLimited.
        floor: the raised floor; None while it is not raised.
        needed: when the load last needed the floor, by the monotonic clock.
        due: time of the next look.
        held_due: time of the next reading of all replicas while the floor is raised.
        turn: number of the next look.
        busy: whether a look runs.
    """

    server: ServerSummary
    scaling: Autoscaling
    replicas: int = 0
    asks: str = ""
    floor: RaisedFloor | None = None
    needed: float = 0.0
    due: float = 0.0
    held_due: float = 0.0
    turn: int = 0
    busy: bool = False
    history: ScalingHistory = field(default_factory=ScalingHistory)

    @property
    def bounds(self) -> ReplicaBounds:
        """The bounds in force."""
        return self.server.bounds.bounds if self.server.bounds else plain_bounds(self.scaling)

    @property
    def expected(self) -> int:
        """Replicas that the server has, or gets by a floor that is raised already."""
        return max(self.replicas, self.floor.replicas if self.floor else 0, self.bounds.min_replicas, 1)


class FastPath:
    """Watch the load of the servers with `fastPath`, while this process leads.

    Args:
        loads: reads the load.
        scale_now: scales a server with `source: operator` at once.
        may_write: returns whether this process leads.
        on_change: called with the key of a server whose floor has changed; must not block.
        clock: monotonic seconds.
        now: the present time in UTC.
    """

    def __init__(
        self,
        loads: PeekedLoads,
        scale_now: Callable[[Key], Awaitable[None]],
        may_write: Callable[[], bool],
        on_change: Callable[[Key], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._loads = loads
        self._scale_now = scale_now
        self._may_write = may_write
        self._on_change = on_change
        self._clock = clock
        self._now = now
        self._servers: dict[Key, _Watched] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def observe(self, key: Key, server: ServerSummary, snapshot: Snapshot) -> None:
        """Take in the present spec and objects of a server; one without `fastPath`, or paused, is forgotten."""
        scaling = server.scaling
        if scaling is None or not scaling.fast_path or scaling.paused or server.paused or server.asleep:
            self.forget(key)
            return
        replicas = get_int(snapshot.deployment, "spec", "replicas") if snapshot.deployment else 0
        known = self._servers.get(key)
        if known is None or known.server.uid != server.uid:
            known = self._servers[key] = _Watched(server, scaling, replicas)
            self._adopt_floor(known, snapshot)
        if replicas > known.expected:
            known.history.record(replicas - known.expected, self._clock())
        known.server, known.scaling, known.replicas = server, scaling, replicas
        known.asks = get_str(get_condition(snapshot.autoscaler, "ScalingLimited"), "reason")
        if scaling.source == "operator":
            known.floor = None

    def _adopt_floor(self, known: _Watched, snapshot: Snapshot) -> None:
        """Take over the floor that an earlier process raised, and the time for which it has been up."""
        floor = raised_before(snapshot.autoscaler, known.bounds)
        if floor is not None:
            passed = max((self._now() - floor.since).total_seconds(), 0.0)
            known.floor, known.needed = floor, self._clock() - passed

    def forget(self, key: Key) -> None:
        """Forget a server that is gone, or no longer asks for `fastPath`."""
        self._servers.pop(key, None)

    def floor(self, key: Key) -> RaisedFloor | None:
        """Return the raised floor of a server, within its bounds; None while it is not raised above them."""
        known = self._servers.get(key)
        if known is None or known.floor is None:
            return None
        replicas = min(known.floor.replicas, known.bounds.max_replicas)
        return replace(known.floor, replicas=replicas) if replicas > known.bounds.min_replicas else None

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS if self._servers else LOOK_SECONDS)
                if self._may_write():
                    self.look_due()
        finally:
            for task in self._looks:
                task.cancel()
            await asyncio.gather(*self._looks, return_exceptions=True)

    def look_due(self) -> None:
        """Start a look at every server that is due; a slow one delays no other."""
        now, interval = self._clock(), self._interval()
        for key, one in self._servers.items():
            if one.due > now or one.busy or not one.replicas:
                continue
            one.due, one.busy, one.turn = now + interval, True, one.turn + 1
            task = asyncio.create_task(self._look(key, one))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    def _interval(self) -> float:
        """Return the seconds between two looks at a server, for all readings to keep to their limit."""
        readings = sum(min(PEEKED, one.replicas) for one in self._servers.values())
        return max(LOOK_SECONDS, readings / REQUESTS_PER_SECOND)

    async def _look(self, key: Key, one: _Watched) -> None:
        try:
            await self.look(key, one)
        except Exception:
            logger.exception("%s: the fast path failed", key)
        finally:
            one.busy = False

    async def look(self, key: Key, one: _Watched) -> None:
        """Raise the floor of a server where its load needs it, and lower it where nothing does."""
        if one.floor is not None and one.held_due <= self._clock():
            await self._check_floor(key, one)
        load = await self._loads.peek(key, one.turn, PEEKED, FRESH_SECONDS)
        if not is_above_target(load, one.scaling):
            # A stabilization window upwards takes the smallest of its recommendations.
            self._allowed(one, one.expected)
            return
        wanted, _ = await self._wanted(key, one)
        if wanted <= one.expected:
            return
        await asyncio.sleep(CONFIRM_SECONDS)
        again, load = await self._wanted(key, one)
        before = one.expected
        allowed = min(self._allowed(one, min(wanted, again)), one.bounds.max_replicas)
        if allowed > before and self._servers.get(key) is one:
            await self._raise(key, one, allowed, load)

    async def _wanted(self, key: Key, one: _Watched) -> tuple[int, ServerLoad]:
        load = await self._loads.load(key, 0.0)
        return (replicas_for_load(load.loads, one.expected, one.scaling) if load.loads else 0), load

    def _allowed(self, one: _Watched, wanted: int) -> int:
        return one.history.limit(one.expected, wanted, scaling_behavior(one.scaling), self._clock())

    async def _raise(self, key: Key, one: _Watched, replicas: int, load: ServerLoad) -> None:
        if one.scaling.source == "operator":
            await self._scale_now(key)
            return
        now = self._clock()
        one.history.record(replicas - one.expected, now)
        one.floor = RaisedFloor(replicas, self._now().replace(microsecond=0), load_text(load))
        one.needed, one.held_due = now, now + HELD_LOOK_SECONDS
        logger.info("%s: the autoscaler gets at least %d replicas: %s", key, replicas, one.floor.cause)
        self._on_change(key)

    async def _check_floor(self, key: Key, one: _Watched) -> None:
        """Lower a floor that the autoscaler asks for itself, or that the load no longer needs."""
        one.held_due = self._clock() + HELD_LOOK_SECONDS
        wanted, _ = await self._wanted(key, one)
        floor, now = one.floor, self._clock()
        if floor is None:
            return
        if wanted >= floor.replicas:
            one.needed = now
        passed = (self._now() - floor.since).total_seconds()
        is_asked_for = passed >= ASKED_SECONDS and one.replicas >= floor.replicas and one.asks not in ("", TOO_FEW)
        is_unneeded = now - one.needed >= hold_seconds(one.scaling)
        if is_asked_for or is_unneeded or floor.replicas <= one.bounds.min_replicas:
            one.floor = None
            cause = "the autoscaler asks for as many" if is_asked_for else "the load needs fewer"
            logger.info("%s: the autoscaler may go below %d replicas again: %s", key, floor.replicas, cause)
            self._on_change(key)


def is_above_target(load: ServerLoad, scaling: Autoscaling) -> bool:
    """Return whether the average load of the replicas that answered is above the target."""
    loads, limit = load.loads, 1 + scale_up_tolerance(scaling)
    if not loads:
        return False
    if sum(one.requests for one in loads) > limit * scaling.target_running_requests * len(loads):
        return True
    caches = [one.kv_cache_usage for one in loads if one.kv_cache_usage is not None]
    target = scaling.target_kv_cache_usage
    return target is not None and sum(caches) > limit * target * len(caches)


def hold_seconds(scaling: Autoscaling) -> float:
    """Return for how long a load must be gone until the floor is lowered: as long as the autoscaler itself waits."""
    window = scaling_behavior(scaling)["scaleDown"].get("stabilizationWindowSeconds", DEFAULT_WINDOW_SECONDS)
    return max(SHORTEST_HOLD_SECONDS, float(window))
