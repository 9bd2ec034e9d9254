"""One token asked of an engine that may be frozen: `/health` and `/v1/models` do not ask the engine, this does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from vllm_operator.probing.engine_counters import EngineCounters, parsed_pulse
from vllm_operator.probing.http import ProbeError, ReplicaEndpoint
from vllm_operator.probing.responses import METRICS_LIMIT
from vllm_operator.probing.stall_heuristics import moved

POLL_SECONDS = 4.0
"""How often the numbers are looked at while a completion waits."""

RANK_HEADER = "x-data-parallel-rank"
"""Sends a request to one engine of several (vLLM 0.10 and later)."""

_ANSWER = 1024 * 1024
_FULL = {429, 503}

CompletionVerdict = Literal["Answered", "Moving", "Stalled", "Refused", "Unclear"]
"""Answered: the engine lives. Moving: it is busy. Stalled: no answer, and no number moved. Refused: the model takes no
such request. Unclear: the replica could not be asked, so nothing is known."""


@dataclass(frozen=True, slots=True)
class CompletionFinding:
    """What came of a completion.

    Attributes:
        verdict: see there.
        pulse: the last look at the numbers, if there was one after the completion began.
        words: for `Stalled`, what was seen, in one line.
    """

    verdict: CompletionVerdict
    pulse: EngineCounters | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A completion to ask for.

    Attributes:
        replica: whom to ask.
        headers: for the completion alone: the API key.
        model: served name.
        pulse: the numbers as they stood before.
        engine: the data-parallel engine that is under suspicion; None for the whole replica.
        deadline: seconds after which an engine that neither answered nor moved is stalled.
        poll: seconds between two looks meanwhile.
    """

    replica: ReplicaEndpoint
    model: str
    pulse: EngineCounters
    engine: str | None
    deadline: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    poll: float = POLL_SECONDS


async def look(replica: ReplicaEndpoint) -> EngineCounters | None:
    """The numbers of a replica as they are now; None when it tells none.

    Raises:
        ProbeError: it cannot be asked.
    """
    return parsed_pulse(await replica.get("/metrics", METRICS_LIMIT))


async def ask(question: CompletionRequest) -> CompletionFinding:
    """Ask for one token, and watch the numbers until it comes. Whatever happens, no request is left behind.

    A busy engine lets the completion wait in its queue: as soon as a number moves, the request is taken back. So that a
    network that is cut is not taken for a frozen engine, every look must be answered, too.
    """
    request = asyncio.create_task(_complete(question))
    try:
        return await _watched(question, request)
    finally:
        # Closing the connection makes vLLM abort the request, also one that it has not begun yet.
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)


async def _watched(question: CompletionRequest, request: asyncio.Task[int]) -> CompletionFinding:
    begun, turned_away = time.monotonic(), 0
    while True:
        await asyncio.wait({request}, timeout=question.poll) if not turned_away else await asyncio.sleep(question.poll)
        try:
            if request.done() and not turned_away:
                status = request.result()
                if status not in _FULL:
                    return await _ended(question, status)
                turned_away = status
            pulse = await look(question.replica)
        except ProbeError:
            return CompletionFinding("Unclear")
        if pulse is None:
            return CompletionFinding("Unclear")
        if moved(question.pulse, pulse, question.engine):
            return CompletionFinding("Moving", pulse)
        if turned_away and not any(pulse.held.values()):
            return CompletionFinding("Unclear")  # not for a full queue, so who knows by whom
        if request.done() and not turned_away:
            continue  # it came while the numbers were looked at
        if time.monotonic() - begun >= question.deadline:
            return CompletionFinding("Stalled", pulse, _words(question.deadline, turned_away))


async def _ended(question: CompletionRequest, status: int) -> CompletionFinding:
    if status == 200:
        return CompletionFinding("Answered", await look(question.replica))
    return CompletionFinding("Refused" if 400 <= status < 500 else "Unclear")


def _words(seconds: float, turned_away: int) -> str:
    answer = f"was turned away with {turned_away} for" if turned_away else "got no answer within"
    return f"/health answers 200, but a one-token completion {answer} {seconds:g} s and no counter of the engine moved"


async def _complete(question: CompletionRequest) -> int:
    """The HTTP status of a one-token completion; that of an embedding for a model that completes nothing.

    Raises:
        ProbeError: there was no answer of HTTP's.
    """
    generation = {"model": question.model, "prompt": "Hi", "max_tokens": 1, "temperature": 0}
    status = await _post(question, "/v1/completions", generation)
    if status in {400, 404, 405, 501}:
        return await _post(question, "/v1/embeddings", {"model": question.model, "input": "Hi"})
    return status


async def _post(question: CompletionRequest, path: str, body: Mapping[str, Any]) -> int:
    headers = dict(question.headers)
    if question.engine is not None:
        headers[RANK_HEADER] = question.engine
    # The deadline is kept by the looks, which also tell what else happened.
    longest = question.deadline * 2 + 60
    try:
        await replace(question.replica, headers=headers).post(path, body, _ANSWER, longest)
    except ProbeError as error:
        if error.status is None:
            raise
        return error.status
    return 200
