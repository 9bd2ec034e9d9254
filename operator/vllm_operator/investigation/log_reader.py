"""Reads the log of every failure once, beside the passes: a pass uses what is known, and is woken by what is new."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vllm_operator.diagnosis.causes import diagnose_log
from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.errors import ApiError
from vllm_operator.investigation.failed_containers import FailedContainer, failures
from vllm_operator.kube.key import Key
from vllm_operator.status.inputs import Observation

AT_ONCE = 4
"""Logs that are read at the same time: a node that does not answer holds up one reader for 30 s."""

ATTEMPTS = 3
PAUSE_SECONDS = 5.0
FIRST_WORDS_SECONDS = 2.0
"""How long a status waits for the first log of a replica: else an exit code would be told, and the cause just after."""

Read = Callable[[str, str, str, bool], Awaitable[str]]

logger = logging.getLogger(__name__)


@dataclass
class _LogRequest:
    """What is known of one pod: the run that was last asked for, since when, and the last diagnosis."""

    run: str
    asked_at: float
    diagnosis: Diagnosis | None = None


class ContainerLogReader:
    """Why containers died.

    Args:
        read: reads a log: namespace, pod, container, whether that of the former run.
        on_change: called with the server of a new diagnosis.
        clock: monotonic seconds.
    """

    def __init__(
        self, read: Read, on_change: Callable[[Key], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._on_change = on_change
        self._known: defaultdict[Key, dict[str, _LogRequest]] = defaultdict(dict)
        self._wanted: asyncio.Queue[tuple[Key, FailedContainer]] = asyncio.Queue()

    def of(self, key: Key, observed: Observation) -> dict[str, Diagnosis]:
        """Pod name -> diagnosis, as far as it is known; the log of a new failure is read in the background."""
        found = {failure.uid: failure for failure in failures(observed)}
        entries = self._known[key]
        for uid in entries.keys() - found.keys():
            del entries[uid]
        for uid, failure in found.items():
            entry = entries.setdefault(uid, _LogRequest("", self._clock()))
            if entry.run != failure.run:
                entry.run = failure.run
                self._wanted.put_nowait((key, failure))
        if not entries:
            del self._known[key]
        return {found[uid].pod: entry.diagnosis for uid, entry in entries.items() if entry.diagnosis}

    def pause(self, key: Key) -> float | None:
        """Seconds for which the first log of a replica is worth waiting for; None when none is being read."""
        asked = [entry.asked_at for entry in self._known.get(key, {}).values() if entry.diagnosis is None]
        left = max(asked, default=float("-inf")) + FIRST_WORDS_SECONDS - self._clock()
        return left if left > 0 else None

    def forget(self, key: Key) -> None:
        """Drop what is known of a server that is gone."""
        self._known.pop(key, None)

    async def run(self) -> None:
        """Read logs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key, failure = await self._wanted.get()
            if self._entry(key, failure) is None:
                continue
            diagnosis = await self._diagnosed(key, failure)
            entry = self._entry(key, failure)
            if entry is not None and entry.diagnosis != diagnosis:
                entry.diagnosis = diagnosis
                self._on_change(key)

    def _entry(self, key: Key, failure: FailedContainer) -> _LogRequest | None:
        """What is known of a failure's pod; None when it has recovered, is gone, or died once more since."""
        entry = self._known.get(key, {}).get(failure.uid)
        return entry if entry and entry.run == failure.run else None

    async def _diagnosed(self, key: Key, failure: FailedContainer) -> Diagnosis:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                log = await self._read(key.namespace, failure.pod, failure.container, failure.previous)
                return diagnose_log(log) or NO_DIAGNOSIS
            except ApiError as error:
                logger.info("%s: the log of %s cannot be read: %s", key, failure.pod, error)
                if error.is_refusal or error.status == 404 or attempt == ATTEMPTS:
                    break
            await asyncio.sleep(PAUSE_SECONDS * attempt)
        return NO_DIAGNOSIS
