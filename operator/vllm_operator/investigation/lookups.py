"""Run lookups in the background, rate limited. A new result enqueues its server."""

from __future__ import annotations

import asyncio
import logging
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
"""Shortest time from one turn to the next."""

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
        while True:
            await self._has_lookups.wait()
            await asyncio.gather(*(self._run(entry) for entry in self._due()))
            if not self._scheduled:
                self._has_lookups.clear()
            await asyncio.sleep(TURN_SECONDS)

    def _due(self) -> list[_ScheduledLookup]:
        """Return the lookups of this turn, longest due first."""
        now = self._clock()
        due = [entry for entries in self._scheduled.values() for entry in entries.values() if entry.due <= now]
        return sorted(due, key=lambda entry: entry.due)[:READS_PER_TURN]

    async def _run(self, entry: _ScheduledLookup) -> None:
        lookup, previous = entry.lookup, entry.result
        try:
            result = await self._run_lookup(entry.key, lookup, previous)
        except ApiError as error:
            logger.info("%s: %s of %s cannot be read: %s", entry.key, lookup.source, lookup.name, error)
            result = previous or NO_DIAGNOSIS
        longer = min(2 * entry.repeat, MAX_REPEAT_SECONDS[lookup.source])
        entry.repeat = longer if result == previous else REPEAT_SECONDS
        entry.due = self._clock() + entry.repeat
        current = self._scheduled.get(entry.key, {}).get(lookup.uid)
        if current is entry and result != previous:
            entry.result = result
            self._on_change(entry.key)
