"""Finds replicas whose engine is frozen: looks at their numbers now and then, and asks those that stand still."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from vllm_operator.probing.engine_counters import EngineCounters, parsed_pulse
from vllm_operator.probing.http import ReplicaEndpoint
from vllm_operator.probing.probe_queue import ProbedReplica
from vllm_operator.probing.stall_heuristics import (
    UNASKABLE_SECONDS,
    StallState,
    StallSuspicion,
    answered,
    is_due,
    is_idle,
    is_idle_due,
    looked,
    moved,
    postponed,
    refused,
    went_on,
)
from vllm_operator.probing.synthetic_completion import POLL_SECONDS, CompletionFinding, CompletionRequest, ask

ASKED_AT_ONCE = 64
"""Completions that wait at the same time, of all replicas."""

ANSWERING = frozenset({"Serving", "Stalled"})
"""Reasons of a replica whose API server is well."""

logger = logging.getLogger(__name__)


class StallDetector:
    """Watches the engines of replicas that answer.

    Args:
        on_change: called with a replica whose engine froze or went on.
        clock: monotonic seconds.
        poll: seconds between two looks while a completion waits.
        on_completion: told the verdict of each completion, also of one whose replica has gone meanwhile.
    """

    def __init__(
        self,
        on_change: Callable[[ProbedReplica], None],
        clock: Callable[[], float],
        poll: float = POLL_SECONDS,
        on_completion: Callable[[str], None] = lambda verdict: None,
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._poll = poll
        self._on_completion = on_completion
        self._tasks: set[asyncio.Task[None]] = set()

    def wants_numbers(self, watched: ProbedReplica) -> bool:
        """Whether it is time for another look at the numbers of a replica that was answering."""
        if watched.target.synthetic_completion == "Never" or watched.asking is not None or watched.doubted:
            return False
        if watched.health.reason not in (ANSWERING | {"NotProbed"} if watched.stalled else ANSWERING):
            return False
        return bool(watched.stalled) or self._clock() >= watched.memory.look_after

    def saw(self, watched: ProbedReplica, numbers: bytes, replica: ReplicaEndpoint, headers: Mapping[str, str]) -> None:
        """Take in the numbers of a replica that has just answered, and ask it for a completion if they are suspicious;
        the answer is waited for in the background."""
        pulse = parsed_pulse(numbers)
        now, before = self._clock(), watched.memory.pulse
        if pulse is None:
            watched.memory = postponed(watched.memory, now, UNASKABLE_SECONDS)
            return
        watched.memory, suspicion = looked(watched.memory, pulse, now)
        if watched.stalled and before is not None and moved(before, pulse):
            self._tell(watched, "")
        if (wanted := _wanted(watched, suspicion, before, pulse, now)) and len(self._tasks) < ASKED_AT_ONCE:
            self._start(watched, _question(watched, wanted, pulse, replica, headers, self._poll))

    async def settle(self) -> None:
        """Wait until every completion has been answered or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Take all completions back."""
        for task in self._tasks:
            task.cancel()
        await self.settle()

    def _start(self, watched: ProbedReplica, question: CompletionRequest) -> None:
        name = f"completion {watched.target.key} {watched.target.pod}"
        watched.asking = asyncio.create_task(self._ask(watched, question), name=name)
        self._tasks.add(watched.asking)
        watched.asking.add_done_callback(lambda task: self._ended(task, watched))

    async def _ask(self, watched: ProbedReplica, question: CompletionRequest) -> None:
        asked = watched.target.expectation
        finding = await ask(question)
        self._on_completion(finding.verdict)
        if watched.gone or watched.target.expectation != asked:
            return
        logger.debug("%s: %s: completion: %s", watched.target.key, watched.target.pod, finding.verdict)
        watched.memory = _remembered(watched.memory, finding, self._clock())
        if finding.verdict != "Unclear":
            # The words stay while the state does: a status changes only with the state.
            self._tell(watched, (watched.stalled or finding.words) if finding.verdict == "Stalled" else "")

    def _tell(self, watched: ProbedReplica, stalled: str) -> None:
        changed = watched.hearsay or watched.stalled != stalled
        watched.stalled, watched.hearsay = stalled, False
        if changed:
            self._on_change(watched)

    def _ended(self, task: asyncio.Task[None], watched: ProbedReplica) -> None:
        self._tasks.discard(task)
        watched.asking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: completion of %s broke", watched.target.key, watched.target.pod, exc_info=error)


def forget_engine(watched: ProbedReplica) -> None:
    """Take back the completion of a replica that is no longer watched, or has begun anew: whatever asks that one
    is seen from the start."""
    watched.memory = StallState(deadline=watched.memory.deadline, proven=True)
    watched.stalled, watched.hearsay = "", False
    if watched.asking is not None:
        watched.asking.cancel()


def _wanted(
    watched: ProbedReplica,
    suspicion: StallSuspicion | None,
    before: EngineCounters | None,
    pulse: EngineCounters,
    now: float,
) -> StallSuspicion | None:
    """The suspicion that a completion is to clear up; one that was called stalled is asked until it answers."""
    if watched.stalled:
        return suspicion or StallSuspicion(None, loaded=False)
    if not is_due(watched.memory, now):
        return None
    asks_idle = watched.target.synthetic_completion == "Always" and is_idle_due(watched.memory, now)
    if suspicion is None and asks_idle and is_idle(before, pulse):
        return StallSuspicion(None, loaded=False)
    return suspicion


def _question(
    watched: ProbedReplica,
    wanted: StallSuspicion,
    pulse: EngineCounters,
    replica: ReplicaEndpoint,
    headers: Mapping[str, str],
    poll: float,
) -> CompletionRequest:
    names = watched.target.served_names or watched.health.served_models
    return CompletionRequest(
        replica=replica,
        model=next(iter(names), ""),
        pulse=pulse,
        engine=wanted.engine,
        deadline=watched.memory.deadline,
        headers=headers,
        poll=poll,
    )


def _remembered(memory: StallState, finding: CompletionFinding, now: float) -> StallState:
    match finding.verdict:
        case "Answered":
            return answered(memory, finding.pulse, now)
        case "Moving":
            return went_on(memory, finding.pulse, now)
        case "Refused":
            return refused(memory, now)
    return postponed(memory, now)
