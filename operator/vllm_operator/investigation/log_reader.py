"""Read the log of every failed container once, in the background. A new diagnosis enqueues its server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from vllm_operator.diagnosis.causes import diagnose_log
from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.errors import ApiError
from vllm_operator.investigation.failed_containers import FailedContainer
from vllm_operator.kube.fair_queue import FairQueue
from vllm_operator.kube.key import Key

CONCURRENT_READS = 16
"""Logs that are read at the same time, of at most 256 KiB each."""

NAMESPACE_READS = 4
"""Logs of one namespace at most that are read at the same time: a node that does not answer delays others little."""

READ_SECONDS = 10.0
"""Seconds after which a read has failed: a kubelet that is up answers within one."""

ATTEMPTS = 3
RETRY_SECONDS = 5.0
"""Delay after the first failed read; it grows by as much with each further one. It holds no place of a reader."""

FIRST_LOG_SECONDS = 2.0
"""Seconds for which a status waits for the first log of a replica, instead of reporting only the exit code first."""

ReadLog = Callable[[str, str, str, bool], Awaitable[str]]
"""Reads a log: namespace, pod, container, whether of its previous run."""

logger = logging.getLogger(__name__)


@dataclass
class _LogRequest:
    """The last request for the log of one pod.

    Attributes:
        run: the run of the container whose log is wanted.
        requested_at: time of the first request, in monotonic seconds.
        diagnosis: the last diagnosis; None before the first.
    """

    run: str
    requested_at: float
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class _Read:
    """One attempt to read a log."""

    key: Key
    container: FailedContainer
    attempt: int = 1


class ContainerLogReader:
    """Diagnose failed containers by their logs.

    Args:
        read: reads a log.
        on_change: called with the key of a server that has a new diagnosis.
        clock: monotonic time in seconds.
    """

    def __init__(
        self, read: ReadLog, on_change: Callable[[Key], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._on_change = on_change
        self._requests: defaultdict[Key, dict[str, _LogRequest]] = defaultdict(dict)
        """Requests by server and UID of the pod."""
        self._queue: FairQueue[_Read] = FairQueue(NAMESPACE_READS)

    def diagnoses(self, key: Key, failures: Iterable[FailedContainer]) -> dict[str, Diagnosis]:
        """Return pod name -> diagnosis, as far as it is known; read the logs of new failures in the background."""
        failed = {container.uid: container for container in failures}
        requests = self._requests[key]
        for uid in requests.keys() - failed.keys():
            del requests[uid]
        for uid, container in failed.items():
            request = requests.setdefault(uid, _LogRequest("", self._clock()))
            if request.run != container.run:
                request.run = container.run
                self._put(_Read(key, container))
        if not requests:
            del self._requests[key]
        return {failed[uid].pod: request.diagnosis for uid, request in requests.items() if request.diagnosis}

    def status_delay(self, key: Key) -> float | None:
        """Return the seconds for which a status waits for the first log of a replica; None when none is being read."""
        requested = [r.requested_at for r in self._requests.get(key, {}).values() if r.diagnosis is None]
        left = max(requested, default=float("-inf")) + FIRST_LOG_SECONDS - self._clock()
        return left if left > 0 else None

    def forget(self, key: Key) -> None:
        """Forget a server that is gone; logs that are requested and not yet read are not read."""
        self._requests.pop(key, None)

    async def run(self) -> None:
        """Read logs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_READS):
                group.create_task(self._read_pending())

    def _put(self, read: _Read) -> None:
        self._queue.put(read.key.namespace, (read.key, read.container.uid), read)

    async def _read_pending(self) -> None:
        while True:
            read, turn = await self._queue.get()
            try:
                await self._run_read(read)
            finally:
                turn.release()

    async def _run_read(self, read: _Read) -> None:
        """Read one log, unless nobody needs it any more; after a failure, have it read again after a delay."""
        key, container = read.key, read.container
        if self._request_for(key, container) is None:
            return
        try:
            async with asyncio.timeout(READ_SECONDS):
                log = await self._read(key.namespace, container.pod, container.container, container.previous)
            diagnosis = diagnose_log(log) or NO_DIAGNOSIS
        except (ApiError, TimeoutError) as error:
            logger.info("%s: the log of %s cannot be read: %s", key, container.pod, str(error) or "no answer")
            if read.attempt < ATTEMPTS and _may_be_read_later(error):
                again = replace(read, attempt=read.attempt + 1)
                asyncio.get_running_loop().call_later(RETRY_SECONDS * read.attempt, self._put, again)
                return
            diagnosis = NO_DIAGNOSIS
        request = self._request_for(key, container)
        if request is not None and request.diagnosis != diagnosis:
            request.diagnosis = diagnosis
            self._on_change(key)

    def _request_for(self, key: Key, container: FailedContainer) -> _LogRequest | None:
        """Return the request of a container; None when it has recovered, is gone, or failed again since."""
        request = self._requests.get(key, {}).get(container.uid)
        return request if request and request.run == container.run else None


def _may_be_read_later(error: Exception) -> bool:
    return not isinstance(error, ApiError) or not (error.is_refusal or error.status == 404)
