"""Test an engine with a one-token completion: `/health` and `/v1/models` answer without the engine, this does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from vllm_operator.probing.engine_counters import EngineCounters, parse_engine_counters
from vllm_operator.probing.http import Content, ProbeError, ReplicaClient, UnexpectedStatusError
from vllm_operator.probing.responses import METRICS_LIMIT, SMALL_LIMIT, parse_flag
from vllm_operator.probing.smallest_requests import NOT_SERVED, smallest_requests
from vllm_operator.probing.stall_heuristics import has_progressed

POLL_SECONDS = 4.0
"""Seconds between two samples while a completion waits."""

RANK_HEADER = "x-data-parallel-rank"
"""Header that sends a request to one engine of several (vLLM 0.10 and later)."""

_QUEUE_FULL = {429, 503}

SUSPENDED_TIMEOUT_SECONDS = 2.0
"""Timeout of the question whether an engine was paused or put to sleep: a stalled engine never answers it."""

CompletionVerdict = Literal["Answered", "Moving", "Stalled", "Paused", "Refused", "Unclear"]
"""Outcome of a synthetic completion.

`Answered`: the engine works. `Moving`: it is busy. `Stalled`: no answer, and no counter moved. `Paused`: the engine was
paused or put to sleep, so it rightly makes no progress. `Refused`: the model accepts no such request. `Unclear`: the
replica could not be reached, so nothing is known.
"""


@dataclass(frozen=True, slots=True)
class CompletionResult:
    """The outcome of a synthetic completion.

    Attributes:
        verdict: see there.
        counters: the last sample that was taken after the completion began; None without one.
        message: evidence of the stall in one line; empty for other verdicts.
    """

    verdict: CompletionVerdict
    counters: EngineCounters | None = None
    message: str = ""


async def read_counters(client: ReplicaClient) -> EngineCounters | None:
    """Read the engine counters of a replica; None when it exports none.

    Raises:
        ProbeError: the replica gave no usable answer.
    """
    return parse_engine_counters(await client.get("/metrics", METRICS_LIMIT))


@dataclass(frozen=True, slots=True)
class SyntheticCompletion:
    """A one-token completion that tests an engine.

    Attributes:
        client: sends requests to the replica.
        model: served name.
        counters: the sample that raised the suspicion.
        engine: the data-parallel engine under suspicion; None for the whole replica.
        deadline: seconds without an answer and without progress after which the engine is stalled.
        headers: sent with the completion alone: the API key.
        poll: seconds between two samples while the completion waits.
    """

    client: ReplicaClient
    model: str
    counters: EngineCounters
    engine: str | None
    deadline: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    poll: float = POLL_SECONDS

    async def request(self) -> CompletionResult:
        """Request one token, sample the counters until it arrives, and cancel the request at the end.

        A busy engine lets the completion wait in its queue: it is cancelled as soon as a counter moves. The replica
        must answer every sample, so that a network that is cut does not pass for a stalled engine. An engine that was
        put to sleep gets no request, and one that was paused is not stalled.
        """
        if not self.counters.has_sleep_state and await self._reports("is_sleeping"):
            return CompletionResult("Paused")
        request = asyncio.create_task(self._complete())
        try:
            return await self._poll_until_decided(request)
        finally:
            # Closing the connection makes vLLM abort the request, also one that it has not begun yet.
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)

    async def _poll_until_decided(self, request: asyncio.Task[int]) -> CompletionResult:
        begun = time.monotonic()
        rejected_with: int | None = None
        while True:
            await _wait(request if rejected_with is None else None, self.poll)
            try:
                if rejected_with is None and request.done():
                    if (status := request.result()) not in _QUEUE_FULL:
                        return await self._result_of(status)
                    rejected_with = status
                counters = await read_counters(self.client)
            except ProbeError:
                return CompletionResult("Unclear")
            if (decided := self._judge(counters, rejected_with)) is not None:
                return decided
            if rejected_with is None and request.done():
                continue  # it was answered during the sample
            if time.monotonic() - begun >= self.deadline:
                return await self._stalled_or_paused(counters, rejected_with)

    async def _stalled_or_paused(self, counters: EngineCounters | None, rejected_with: int | None) -> CompletionResult:
        if await self._reports("is_paused") or await self._reports("is_sleeping"):
            return CompletionResult("Paused")
        return CompletionResult("Stalled", counters, _stall_message(self.deadline, rejected_with))

    async def _reports(self, flag: str) -> bool:
        """Ask vLLM's development endpoint for a flag; False without it (404 unless `VLLM_SERVER_DEV_MODE` is set)."""
        client = replace(self.client, timeout=min(self.client.timeout, SUSPENDED_TIMEOUT_SECONDS))
        try:
            return parse_flag(await client.get(f"/{flag}", SMALL_LIMIT), flag)
        except ProbeError:
            return False

    def _judge(self, counters: EngineCounters | None, rejected_with: int | None) -> CompletionResult | None:
        """Return the outcome that a sample shows while the completion has no answer; None while it shows none."""
        if counters is None:
            return CompletionResult("Unclear")
        if has_progressed(self.counters, counters, self.engine):
            return CompletionResult("Moving", counters)
        if rejected_with is not None and not any(counters.requests.values()):
            return CompletionResult("Unclear")  # no queue is full here, so something in front of the engine rejects
        return None

    async def _result_of(self, status: int) -> CompletionResult:
        if status == 200:
            return CompletionResult("Answered", await read_counters(self.client))
        return CompletionResult("Refused" if 400 <= status < 500 else "Unclear")

    async def _complete(self) -> int:
        """Return the HTTP status of the first of the smallest requests that the model serves; else of the last one.

        Raises:
            ProbeError: there was no HTTP answer.
        """
        status = 0
        for path, content in smallest_requests(self.model):
            status = await self._post(path, content)
            if status not in NOT_SERVED:
                break
        return status

    async def _post(self, path: str, content: Content) -> int:
        headers = dict(self.headers)
        if self.engine is not None:
            headers[RANK_HEADER] = self.engine
        # The samples keep the deadline, since they also show what else happened; this is longer in any case.
        timeout = self.deadline * 2 + 60
        try:
            await replace(self.client, headers=headers).post(path, content, METRICS_LIMIT, timeout)
        except UnexpectedStatusError as error:
            return error.status
        return 200


async def _wait(request: asyncio.Task[int] | None, seconds: float) -> None:
    """Wait for `seconds`, or until the request has ended when it is given."""
    if request is None:
        await asyncio.sleep(seconds)
    else:
        await asyncio.wait({request}, timeout=seconds)


def _stall_message(seconds: float, rejected_with: int | None) -> str:
    answer = "got no answer within" if rejected_with is None else f"was turned away with {rejected_with} for"
    return f"/health answers 200, but a one-token completion {answer} {seconds:g} s and no counter of the engine moved"
