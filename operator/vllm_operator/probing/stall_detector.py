"""Detect stalled engines: sample the engine counters of each replica, and test an engine that makes no progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vllm_operator.probing.completion_places import CompletionPlaces
from vllm_operator.probing.engine_counters import EngineCounters, parse_engine_counters
from vllm_operator.probing.http import ReplicaClient
from vllm_operator.probing.stall_heuristics import (
    REFUSED_SECONDS,
    StallState,
    StallSuspicion,
    has_progressed,
    is_completion_due,
    is_idle,
    is_idle_completion_due,
    on_answer,
    on_pause,
    on_progress,
    on_recovery,
    on_refusal,
    on_sample,
    on_stall,
    restart_observation,
)
from vllm_operator.probing.synthetic_completion import CompletionResult, SyntheticCompletion
from vllm_operator.probing.targets import ProbeTarget

if TYPE_CHECKING:
    from vllm_operator.probing.replica import ProbedReplica

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class StallRecord:
    """The engine of one replica, as far as it was observed. Only this module writes to it.

    Attributes:
        state: samples of the engine counters, and the times that follow from them.
        message: evidence of the stall in one line; empty while the engine is not known to be stalled.
        from_status: only the status reports the stall; this process has not tested the engine yet.
        completion: the synthetic completion that waits for an answer; None without one.
    """

    state: StallState = field(default_factory=StallState)
    message: str = ""
    from_status: bool = False
    completion: asyncio.Task[None] | None = None


class StallDetector:
    """Watch the engines of the replicas that answer.

    Args:
        on_change: called with a replica whose engine stalled, or makes progress again.
        clock: monotonic seconds.
        deadline: seconds for a synthetic completion of an engine that may be stalled.
        poll: seconds between two samples while a synthetic completion waits.
        on_completion: called with the verdict of each synthetic completion, also when its replica is gone since.
    """

    def __init__(
        self,
        on_change: Callable[[ProbedReplica], None],
        clock: Callable[[], float],
        deadline: float,
        poll: float,
        on_completion: Callable[[str], None],
    ) -> None:
        self._on_change = on_change
        self._clock = clock
        self._deadline = deadline
        self._poll = poll
        self._on_completion = on_completion
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = CompletionPlaces()

    def new_record(self, target: ProbeTarget) -> StallRecord:
        """Return the record of a new replica: stalled, when the status reports that, until its engine is tested."""
        state = StallState(deadline=self._deadline)
        return StallRecord(state, message=target.reported_stall, from_status=bool(target.reported_stall))

    def wants_sample(self, replica: ProbedReplica) -> bool:
        """Return whether the next probe of a replica is to read the engine counters.

        It is when the replica answered its last probe and the last sample is old enough; of a stalled engine, always.
        """
        stall, result = replica.stall, replica.result
        if replica.target.synthetic_completion == "Never" or stall.completion is not None:
            return False
        if result.unconfirmed_failure is not None:
            return False
        if stall.message:
            return result.health.is_answering or result.health.reason == "NotProbed"
        return result.health.is_answering and self._clock() >= stall.state.next_sample_at

    def on_metrics(
        self, replica: ProbedReplica, metrics: bytes, client: ReplicaClient, headers: Mapping[str, str]
    ) -> None:
        """Take a sample of a replica that has just answered, and test an engine that may be stalled in the background.

        Args:
            replica: the replica.
            metrics: the body of its `/metrics`.
            client: sends requests to it.
            headers: sent with a synthetic completion.
        """
        counters = parse_engine_counters(metrics)
        stall, now = replica.stall, self._clock()
        before = stall.state.counters
        if counters is None:
            stall.state = restart_observation(stall.state, now, REFUSED_SECONDS)
            return
        stall.state, suspicion = on_sample(stall.state, counters, now)
        if stall.message and before is not None and has_progressed(before, counters):
            stall.state = on_recovery(stall.state, now)
            self._set_stall(replica, "")
        suspicion = _suspicion_to_test(replica, suspicion, before, counters, now)
        if suspicion is not None and self._places.take(replica.target.key, is_retest=bool(stall.message)):
            reason = "it holds requests" if suspicion.has_requests else "it looks idle"
            logger.debug("%s: %s: the engine is tested: %s", replica.target.key, replica.target.pod, reason)
            self._start(replica, self._completion(replica, suspicion, counters, client, headers))

    def _completion(
        self,
        replica: ProbedReplica,
        suspicion: StallSuspicion,
        counters: EngineCounters,
        client: ReplicaClient,
        headers: Mapping[str, str],
    ) -> SyntheticCompletion:
        names = replica.target.served_names or replica.result.health.served_models
        return SyntheticCompletion(
            client=client,
            model=next(iter(names), ""),
            counters=counters,
            engine=suspicion.engine,
            deadline=replica.stall.state.deadline,
            headers=headers,
            poll=self._poll,
        )

    async def wait_until_idle(self) -> None:
        """Wait until every synthetic completion has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cancel all synthetic completions."""
        for task in self._tasks:
            task.cancel()
        await self.wait_until_idle()

    def _start(self, replica: ProbedReplica, completion: SyntheticCompletion) -> None:
        name = f"completion {replica.target.key} {replica.target.pod}"
        task = asyncio.create_task(self._test(replica, completion), name=name)
        key, is_retest = replica.target.key, bool(replica.stall.message)
        replica.stall.completion = task
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._places.free(key, is_retest=is_retest))
        task.add_done_callback(lambda task: self._on_completion_end(task, replica))

    async def _test(self, replica: ProbedReplica, completion: SyntheticCompletion) -> None:
        expectation = replica.target.expectation
        result = await completion.request()
        self._on_completion(result.verdict)
        if replica.slot.is_removed or replica.target.expectation != expectation:
            return
        logger.debug("%s: %s: completion: %s", replica.target.key, replica.target.pod, result.verdict)
        stall = replica.stall
        stall.state = _state_after(stall.state, result, self._clock())
        if result.verdict == "Stalled":
            # The message stays while the stall lasts: a status changes only with the state.
            self._set_stall(replica, stall.message or result.message)
        elif result.verdict != "Unclear":
            self._set_stall(replica, "")

    def _set_stall(self, replica: ProbedReplica, message: str) -> None:
        stall = replica.stall
        is_change = stall.from_status or stall.message != message
        stall.message, stall.from_status = message, False
        if is_change:
            self._on_change(replica)

    def _on_completion_end(self, task: asyncio.Task[None], replica: ProbedReplica) -> None:
        self._tasks.discard(task)
        replica.stall.completion = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: completion of %s broke", replica.target.key, replica.target.pod, exc_info=error)


def reset_engine(replica: ProbedReplica) -> None:
    """Forget the engine of a replica that is removed or whose process has ended, and cancel its completion.

    The engine that starts next is observed from its start, so it counts as seen working.
    """
    stall = replica.stall
    stall.state = StallState(deadline=stall.state.deadline, seen_working=True)
    stall.message, stall.from_status = "", False
    if stall.completion is not None:
        stall.completion.cancel()


def _suspicion_to_test(
    replica: ProbedReplica,
    suspicion: StallSuspicion | None,
    before: EngineCounters | None,
    counters: EngineCounters,
    now: float,
) -> StallSuspicion | None:
    """Return the suspicion that a synthetic completion is to clear up now, if any.

    An engine that is reported as stalled is tested until it answers, more rarely with each test.
    """
    stall = replica.stall
    if not is_completion_due(stall.state, now):
        return None
    if stall.message:
        return suspicion or StallSuspicion(None)
    tests_idle = replica.target.synthetic_completion == "Always" and is_idle_completion_due(stall.state, now)
    if suspicion is None and tests_idle and is_idle(before, counters):
        return StallSuspicion(None)
    return suspicion


def _state_after(state: StallState, result: CompletionResult, now: float) -> StallState:
    match result.verdict:
        case "Answered":
            return on_answer(state, result.counters, now)
        case "Moving":
            return on_progress(state, result.counters, now)
        case "Refused":
            return on_refusal(state, now)
        case "Paused":
            return on_pause(state, now)
        case "Stalled":
            return on_stall(state, now)
    return restart_observation(state, now)
