"""Looks up what is stuck without explanation, beside the passes, rarely and never much at once."""

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

AGAIN_SECONDS = 15.0
"""From one reading to the next, as long as the state lasts; twice as long whenever the answer was the same."""

LONGEST_SECONDS = {"log": 60.0, "events": 600.0}

AT_ONCE = 10
"""Readings in one turn; a turn lasts a second and more."""

TURN_SECONDS = 1.0

Read = Callable[[Key, Lookup, Diagnosis | None], Awaitable[Diagnosis]]
"""Answers a question; is given what the reading before told."""


async def answer(client: ApiClient, key: Key, question: Lookup, before: Diagnosis | None) -> Diagnosis:
    """Answer a question from a log, or from the events of an object.

    Raises:
        ApiError: it cannot be read.
    """
    if question.what == "log":
        return find_stage(await read_log_tail(client, key.namespace, question.name, question.container, False), before)
    return diagnose_events(question.kind, await list_events_of(client, key.namespace, question.uid))


logger = logging.getLogger(__name__)


@dataclass
class _RunningLookup:
    key: Key
    question: Lookup
    due: float
    pause: float = AGAIN_SECONDS
    answer: Diagnosis | None = None


class LookupRunner:
    """Answers to the questions of servers.

    Args:
        read: answers a question.
        on_change: called with the server of a new answer.
        clock: monotonic time in seconds.
    """

    def __init__(self, read: Read, on_change: Callable[[Key], None], clock: Callable[[], float]) -> None:
        self._read = read
        self._on_change = on_change
        self._clock = clock
        self._entries: dict[Key, dict[str, _RunningLookup]] = {}
        self._asked = asyncio.Event()

    def of(self, key: Key, questions: Iterable[Lookup]) -> dict[str, Diagnosis]:
        """UID -> the answer, as far as there is one; the others are looked up in the background."""
        before, now = self._entries.pop(key, {}), self._clock()
        entries: dict[str, _RunningLookup] = {}
        for question in questions:
            known = before.get(question.uid)
            same = known is not None and known.question == question
            entries[question.uid] = known if same and known else _RunningLookup(key, question, now + question.delay)
        if entries:
            self._entries[key] = entries
            self._asked.set()
        return {uid: entry.answer for uid, entry in entries.items() if entry.answer is not None}

    def forget(self, key: Key) -> None:
        """Drop what is known of a server that is gone."""
        self._entries.pop(key, None)

    async def run(self) -> None:
        """Look up until cancelled; sleeps while nobody asks."""
        while True:
            await self._asked.wait()
            await asyncio.gather(*(self._look_up(entry) for entry in self._due()))
            if not self._entries:
                self._asked.clear()
            await asyncio.sleep(TURN_SECONDS)

    def _due(self) -> list[_RunningLookup]:
        now = self._clock()
        due = [entry for entries in self._entries.values() for entry in entries.values() if entry.due <= now]
        return sorted(due, key=lambda entry: entry.due)[:AT_ONCE]

    async def _look_up(self, entry: _RunningLookup) -> None:
        try:
            found = await self._read(entry.key, entry.question, entry.answer)
        except ApiError as error:
            logger.info("%s: %s of %s cannot be read: %s", entry.key, entry.question.what, entry.question.name, error)
            found = entry.answer or NO_DIAGNOSIS
        same = entry.answer is not None and found == entry.answer
        entry.pause = min(2 * entry.pause, LONGEST_SECONDS[entry.question.what]) if same else AGAIN_SECONDS
        entry.due = self._clock() + entry.pause
        current = self._entries.get(entry.key, {}).get(entry.question.uid)
        if current is entry and found != entry.answer:
            entry.answer = found
            self._on_change(entry.key)
