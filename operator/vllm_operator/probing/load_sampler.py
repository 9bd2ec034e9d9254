"""Sample the load of replicas when somebody asks for it: nothing is requested while nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.http import ProbeError, ReplicaClient
from vllm_operator.probing.replica_load import RequestLoad, parse_replica_load
from vllm_operator.probing.responses import METRICS_LIMIT

TIMEOUT_SECONDS = 2.0
"""Timeout of one answer, in seconds. A value that is older is of no use to an autoscaler."""

CONCURRENCY = 64
"""Requests at once to replicas that answered last time."""

SILENT_CONCURRENCY = 16
"""Requests at once to replicas that did not answer last time, so that they take no place from the others."""

FORGET_SECONDS = 120.0
"""Seconds after which the sample of a replica that nobody asks for is forgotten: eight syncs of an autoscaler."""


@dataclass(frozen=True, slots=True)
class SampleTarget:
    """A replica to sample: the UID of its pod, its URL without a slash at the end, and its namespace."""

    uid: str
    base_url: str
    namespace: str


@dataclass(frozen=True, slots=True)
class RequestLoadSample:
    """One reading of a replica.

    Attributes:
        load: the load; None when the replica gave no usable answer.
        time: seconds since the epoch at which the answer arrived.
        taken: the same moment by the monotonic clock.
        message: why there is no load; empty when there is one.
    """

    load: RequestLoad | None
    time: float
    taken: float
    message: str = ""


class LoadSampler:
    """Read the load of replicas over the connections of the prober, each at most once at a time.

    All methods belong to the thread of the event loop.

    Args:
        session: returns the connections of the prober.
        clock: monotonic seconds.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        session: Callable[[], ReplicaSession],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._clock = clock
        self._now = now
        self._samples: dict[str, RequestLoadSample] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(CONCURRENCY)
        self._silent_places = asyncio.Semaphore(SILENT_CONCURRENCY)
        self._swept = clock()
        self.requests = 0
        """Requests that were sent to replicas."""

    async def sample(self, targets: Iterable[SampleTarget], max_age: float) -> Mapping[str, RequestLoadSample]:
        """Return UID -> sample, none of them older than `max_age` seconds plus the time of this call.

        A replica without a usable answer has a sample without a load. One that did not answer last time is asked in
        the background, so that it delays nobody, and is left out until it answers.
        """
        wanted = list(targets)
        self._sweep()
        oldest = self._clock() - max_age
        pending = []
        for target in wanted:
            known = self._samples.get(target.uid)
            if known is not None and known.taken >= oldest:
                continue
            task = self._running.get(target.uid) or self._start(target, known)
            if known is None or known.load is not None:
                pending.append(task)
        if pending:
            await asyncio.wait(pending, timeout=TIMEOUT_SECONDS)
        found = ((target.uid, self._samples.get(target.uid)) for target in wanted)
        return {uid: sample for uid, sample in found if sample is not None and sample.taken >= oldest}

    def _start(self, target: SampleTarget, known: RequestLoadSample | None) -> asyncio.Task[None]:
        is_silent = known is not None and known.load is None
        task = asyncio.create_task(self._read(target, self._silent_places if is_silent else self._places))
        self._running[target.uid] = task
        task.add_done_callback(lambda _: self._running.pop(target.uid, None))
        return task

    async def _read(self, target: SampleTarget, places: asyncio.Semaphore) -> None:
        async with places:
            self.requests += 1
            client = ReplicaClient(self._session(), target.base_url, TIMEOUT_SECONDS, namespace=target.namespace)
            load, message = None, "its /metrics holds no number of running and waiting requests of vLLM"
            try:
                load = parse_replica_load(await client.get("/metrics", METRICS_LIMIT))
            except ProbeError as error:
                message = error.message
            self._samples[target.uid] = RequestLoadSample(load, self._now(), self._clock(), "" if load else message)

    def _sweep(self) -> None:
        """Forget the samples that nobody has asked for in a while."""
        now = self._clock()
        if now - self._swept < FORGET_SECONDS:
            return
        self._swept = now
        old = [uid for uid, sample in self._samples.items() if now - sample.taken > FORGET_SECONDS]
        for uid in old:
            del self._samples[uid]

    async def close(self) -> None:
        """Cancel the requests that run."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
