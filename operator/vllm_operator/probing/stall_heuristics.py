"""Suspect an engine of being stalled, from two samples of its counters: pure functions.

Only a synthetic completion confirms the suspicion (`synthetic_completion`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vllm_operator.probing.engine_counters import EngineCounters

SAMPLE_SECONDS = 9.0
"""Shortest time between two samples: a little below the usual probe interval, so that each such probe takes one."""

STILL_SECONDS = 8.0
"""Seconds for which all counters of an engine must have stood still: a step of a busy engine takes seconds at most."""

DEADLINE_SECONDS = 20.0
"""Seconds without an answer to a completion and without progress after which an engine is reported as stalled."""

MAX_DEADLINE_SECONDS = 120.0
"""The longest deadline of an engine with long steps."""

COMPLETION_PAUSE_SECONDS = 19.0
"""Pause after a completion that a busy engine let wait, and interval of `Always`: a little below two usual probe
intervals, so that an engine that stalls right after an answer is tested 20 s later and reported after 40 s."""

RETEST_SECONDS = 10.0
"""Growth of the pause between two completions of an engine that is known as stalled."""

FREE_RETESTS = 3
"""Completions of a stalled engine without a pause: a recovery in the first minutes is noticed at once."""

MAX_RETEST_SECONDS = 40.0
"""The longest pause between two completions of a stalled engine. Its counters, which show most recoveries, are sampled
at each probe in any case."""

REFUSED_SECONDS = 600.0
"""Pause before another completion of a replica that refuses every kind, such as one that transcribes speech."""


PAUSED_SECONDS = 60.0
"""Pause before another completion of an engine that was paused or put to sleep."""


@dataclass(frozen=True, slots=True)
class StallSuspicion:
    """An engine that may be stalled.

    Attributes:
        engine: the data-parallel engine that stands still; None when all engines of the replica do.
        has_requests: the engine itself reports that it holds requests.
    """

    engine: str | None
    has_requests: bool = False


@dataclass(frozen=True, slots=True)
class StallState:
    """The observation of one replica's engines between two samples. Times are monotonic seconds.

    Attributes:
        counters: the last sample; None before the first, and after a completion without an answer.
        sampled_at: time of the last sample.
        still_since: time since which the counters stand still although there is work; None while they move.
        idle_connections: open connections that are known to carry no unanswered request; None while that is unknown.
        deadline: seconds for a completion of this replica; a slow engine that recovered by itself gets more time.
        completion_after: no completion is requested before this time.
        idle_completion_after: no completion of an engine that is only idle is requested before this time.
        seen_working: the engine was seen to work, or the replica to start. An engine that ran before this process
            started may have been stalled all the time, with clients that wait without end: its counters never change.
        unanswered: completions in a row that a stalled engine left without an answer.
    """

    counters: EngineCounters | None = None
    sampled_at: float = 0.0
    still_since: float | None = None
    idle_connections: float | None = None
    deadline: float = DEADLINE_SECONDS
    completion_after: float = 0.0
    idle_completion_after: float = 0.0
    seen_working: bool = False
    unanswered: int = 0

    @property
    def next_sample_at(self) -> float:
        """Time from which the next sample is useful."""
        if self.counters is None:  # a sample has no use while no completion may follow
            return max(self.sampled_at, self.completion_after)
        return self.sampled_at + SAMPLE_SECONDS


def has_progressed(before: EngineCounters, after: EngineCounters, engine: str | None = None) -> bool:
    """Return whether `engine`, or any engine when it is None, has done something between two samples."""
    if before.process_start != after.process_start:
        return True
    if engine is not None:
        return before.progress.get(engine) != after.progress.get(engine)
    return before.progress != after.progress


def on_sample(state: StallState, counters: EngineCounters, now: float) -> tuple[StallState, StallSuspicion | None]:
    """Evaluate a sample; return the next state and the suspicion, if any.

    An engine is suspicious when it has requests in both samples and none of its counters has moved in between. An
    engine that stalled while it was idle reports no requests. More open connections than before count as requests
    then, and so does a request that ended although no engine moved, because its client cancelled it. An engine that
    made no progress since the operator started is tested once.
    """
    before = state.counters
    if before is None or before.process_start != counters.process_start:
        connections = counters.connections
        if state.idle_connections is not None and before is None:
            connections = state.idle_connections
        seen_working = state.seen_working or before is not None  # the process has started again
        return replace(
            state,
            counters=counters,
            sampled_at=now,
            still_since=None,
            idle_connections=connections,
            seen_working=seen_working,
        ), None
    suspicion = _suspicion(state, before, counters)
    if suspicion is None:
        return replace(
            state,
            counters=counters,
            sampled_at=now,
            still_since=None,
            idle_connections=_idle_connections(state, counters),
            seen_working=True,
        ), None
    since = state.sampled_at if state.still_since is None else state.still_since
    after = replace(state, counters=counters, sampled_at=now, still_since=since)
    return after, suspicion if now - since >= STILL_SECONDS else None


def _suspicion(state: StallState, before: EngineCounters, after: EngineCounters) -> StallSuspicion | None:
    for engine, requests in after.requests.items():
        if requests > 0 and before.requests.get(engine, 0) > 0 and not has_progressed(before, after, engine):
            return StallSuspicion(engine if len(after.progress) > 1 else None, has_requests=True)
    if has_progressed(before, after):
        return None
    given_up = after.finished > before.finished
    if (
        not state.seen_working
        or given_up
        or (_has_waiting_clients(state, before) and _has_waiting_clients(state, after))
    ):
        return StallSuspicion(None)
    return None


def _has_waiting_clients(state: StallState, counters: EngineCounters) -> bool:
    if counters.connections is None or state.idle_connections is None:
        return False
    return counters.connections > state.idle_connections


def _idle_connections(state: StallState, counters: EngineCounters) -> float | None:
    """Lower the baseline of idle connections when fewer are open, and never raise it.

    An engine that stalls between two requests has made progress and reports no request in the next sample, so an
    increase alone proves nothing. Only `on_answer` raises the baseline.
    """
    if counters.connections is None or state.idle_connections is None:
        return counters.connections
    return min(state.idle_connections, counters.connections)


def is_completion_due(state: StallState, now: float) -> bool:
    """Return whether a completion may be requested again."""
    return now >= state.completion_after


def is_idle(before: EngineCounters | None, after: EngineCounters) -> bool:
    """Return whether an engine neither moves nor reports requests: only a completion shows its health."""
    return before is not None and not has_progressed(before, after) and not any(after.requests.values())


def is_idle_completion_due(state: StallState, now: float) -> bool:
    """Return whether a completion of an engine that is only idle may be requested again."""
    return now >= state.idle_completion_after


def on_answer(state: StallState, counters: EngineCounters | None, now: float) -> StallState:
    """Return the state after the engine answered a completion.

    Two more samples must show no progress before the engine is suspicious again. No further pause is needed, and an
    engine that stalls right after its answer is found as fast.

    Args:
        state: the observation so far.
        counters: a sample that was taken after the answer.
        now: monotonic seconds.
    """
    return replace(
        _with_longer_deadline(state, now),
        counters=counters,
        sampled_at=now,
        still_since=None,
        idle_connections=counters.connections if counters else state.idle_connections,
        idle_completion_after=now + COMPLETION_PAUSE_SECONDS,
        seen_working=True,
        unanswered=0,
    )


def on_progress(state: StallState, counters: EngineCounters | None, now: float) -> StallState:
    """Return the state after the counters moved while the completion waited: the engine is busy."""
    return replace(
        _with_longer_deadline(state, now),
        counters=counters,
        sampled_at=now,
        still_since=None,
        completion_after=now + COMPLETION_PAUSE_SECONDS,
        seen_working=True,
        unanswered=0,
    )


def _with_longer_deadline(state: StallState, now: float) -> StallState:
    """Raise the deadline to twice the time for which the engine made no progress before it recovered by itself."""
    has_requests = state.counters is not None and any(state.counters.requests.values())
    if state.still_since is None or not (state.seen_working or has_requests):  # an idle engine need not make progress
        return state
    longer = min(max(state.deadline, 2 * (now - state.still_since)), MAX_DEADLINE_SECONDS)
    return replace(state, deadline=longer)


def on_stall(state: StallState, now: float) -> StallState:
    """Take in that a stalled engine left a completion without an answer, so it is tested more rarely."""
    pause = min(RETEST_SECONDS * max(state.unanswered + 1 - FREE_RETESTS, 0), MAX_RETEST_SECONDS)
    return replace(restart_observation(state, now, pause), unanswered=state.unanswered + 1)


def on_pause(state: StallState, now: float) -> StallState:
    """Take in that somebody paused the engine or put it to sleep, so it rightly makes no progress."""
    return replace(restart_observation(state, now, PAUSED_SECONDS), unanswered=0)


def on_recovery(state: StallState, now: float) -> StallState:
    """Take in that a stalled engine makes progress again: a new stall is tested without a pause."""
    return replace(state, completion_after=now, unanswered=0)


def on_refusal(state: StallState, now: float) -> StallState:
    """Return the state after the model refused the completion: its engine cannot be tested."""
    return replace(restart_observation(state, now, REFUSED_SECONDS), seen_working=True)


def restart_observation(state: StallState, now: float, seconds: float = 0.0) -> StallState:
    """Drop the last sample after a completion that decided nothing.

    vLLM counts the operator's cancelled requests as finished, so a comparison with an earlier sample would be false.

    Args:
        state: the observation so far.
        now: monotonic seconds.
        seconds: no completion is requested before they have passed.
    """
    return replace(state, counters=None, sampled_at=now, still_since=None, completion_after=now + seconds)
