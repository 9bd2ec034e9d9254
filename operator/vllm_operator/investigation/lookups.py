"""Run lookups in the background, rate limited. A new result enqueues its server."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.diagnosis.event_reasons import diagnose_events
from vllm_operator.diagnosis.startup_stage import find_stage
from vllm_operator.errors import ApiError
from vllm_operator.investigation.stuck_objects import Lookup
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.key import Key
from vllm_operator.kube.object_events import list_events_of
from vllm_operator.kube.pod_logs import read_log_tail

REPEAT_SECONDS = 15.0
"""Delay from one read to the next while the state lasts; doubled whenever the result is the same."""

MAX_REPEAT_SECONDS = {"log": 60.0, "events": 600.0}
"""Longest delay between two reads, by source."""

READS_PER_TURN = 10
TURN_SECONDS = 1.0
"""Time from one turn to the next. A turn starts reads and waits for none."""

CONCURRENT_READS = 40
NAMESPACE_READS = 10
"""Reads at the same time, of all namespaces and of one: slow reads of one namespace leave places for the others."""

READ_SECONDS = 10.0
"""Seconds after which a read has failed."""

RunLookup = Callable[[Key, Lookup, Diagnosis | None], Awaitable[Diagnosis]]
"""Runs a lookup: the server's key, the lookup, the result of its previous read."""


async def run_lookup(client: ApiClient, key: Key, lookup: Lookup, previous: Diagnosis | None) -> Diagnosis:
    """Read a log, or the Events of an object, and return the cause or the stage that they show.

    Raises:
        ApiError: the log or the Events cannot be read.
    """
    if lookup.source == "log":
        log = await read_log_tail(client, key.namespace, lookup.name, lookup.container, False)
        return find_stage(log, previous)
    return diagnose_events(lookup.kind, await list_events_of(client, key.namespace, lookup.uid))


logger = logging.getLogger(__name__)


@dataclass
class _ScheduledLookup:
    key: Key
    lookup: Lookup
    due: float
    repeat: float = REPEAT_SECONDS
    result: Diagnosis | None = None
    running: bool = False


class LookupRunner:
    """Run the lookups of all servers and keep their results.

    Args:
        run_lookup: runs one lookup.
        on_change: called with the key of a server that has a new result.
        clock: monotonic time in seconds.
    """

    def __init__(self, run_lookup: RunLookup, on_change: Callable[[Key], None], clock: Callable[[], float]) -> None:
        self._run_lookup = run_lookup
        self._on_change = on_change
        self._clock = clock
        self._scheduled: dict[Key, dict[str, _ScheduledLookup]] = {}
        """Lookups by server and UID of the object."""
        self._has_lookups = asyncio.Event()
        self._running: Counter[str] = Counter()
        """Running reads by namespace."""
        self._last_turns: dict[str, int] = {}
        """Number of the last read by namespace: the one that has waited longest is next."""
        self._reads = 0

    def results(self, key: Key, lookups: Iterable[Lookup]) -> dict[str, Diagnosis]:
        """Return UID -> result, as far as there is one; run the other lookups in the background.

        Lookups of the server that are no longer in `lookups` end.
        """
        before, now = self._scheduled.pop(key, {}), self._clock()
        scheduled: dict[str, _ScheduledLookup] = {}
        for lookup in lookups:
            known = before.get(lookup.uid)
            same = known is not None and known.lookup == lookup
            scheduled[lookup.uid] = known if same and known else _ScheduledLookup(key, lookup, now + lookup.delay)
        if scheduled:
            self._scheduled[key] = scheduled
            self._has_lookups.set()
        return {uid: entry.result for uid, entry in scheduled.items() if entry.result is not None}

    def forget(self, key: Key) -> None:
        """Forget a server that is gone."""
        self._scheduled.pop(key, None)

    async def run(self) -> None:
        """Run lookups until cancelled; sleep while there are none."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._has_lookups.wait()
                for entry in self._start_turn():
                    group.create_task(self._run(entry))
                if not self._scheduled:
                    self._has_lookups.clear()
                await asyncio.sleep(TURN_SECONDS)

    def _start_turn(self) -> list[_ScheduledLookup]:
        """Return the lookups of this turn: namespaces one after the other, of each the longest due first."""
        due = self._due_by_namespace()
        self._last_turns = {name: turn for name, turn in self._last_turns.items() if name in due}
        order = deque(sorted(due, key=lambda namespace: self._last_turns.get(namespace, 0)))
        places = min(READS_PER_TURN, CONCURRENT_READS - self._running.total())
        chosen: list[_ScheduledLookup] = []
        while order and len(chosen) < places:
            namespace = order.popleft()
            if not due[namespace] or self._running[namespace] >= NAMESPACE_READS:
                continue
            entry = due[namespace].pop()
            entry.running = True
            chosen.append(entry)
            self._running[namespace] += 1
            self._reads += 1
            self._last_turns[namespace] = self._reads
            order.append(namespace)
        return chosen

    def _due_by_namespace(self) -> dict[str, list[_ScheduledLookup]]:
        """Return the lookups that are due and not running, the longest due last."""
        now = self._clock()
        due: defaultdict[str, list[_ScheduledLookup]] = defaultdict(list)
        for key, entries in self._scheduled.items():
            due[key.namespace] += (entry for entry in entries.values() if entry.due <= now and not entry.running)
        for waiting in due.values():
            waiting.sort(key=lambda entry: -entry.due)
        return due

    async def _run(self, entry: _ScheduledLookup) -> None:
        try:
            await self._look_up(entry)
        finally:
            entry.running = False
            self._running.subtract([entry.key.namespace])
            self._running += Counter()

    async def _look_up(self, entry: _ScheduledLookup) -> None:
        lookup, previous = entry.lookup, entry.result
        try:
            async with asyncio.timeout(READ_SECONDS):
                result = await self._run_lookup(entry.key, lookup, previous)
        except (ApiError, TimeoutError) as error:
            cause = str(error) or "no answer"
            logger.info("%s: %s of %s cannot be read: %s", entry.key, lookup.source, lookup.name, cause)
            result = previous or NO_DIAGNOSIS
        longer = min(2 * entry.repeat, MAX_REPEAT_SECONDS[lookup.source])
        entry.repeat = longer if result == previous else REPEAT_SECONDS
        entry.due = self._clock() + entry.repeat
        current = self._scheduled.get(entry.key, {}).get(lookup.uid)
        if current is entry and result != previous:
            entry.result = result
            self._on_change(entry.key)
