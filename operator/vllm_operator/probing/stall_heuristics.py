"""When an engine looks frozen: pure, from two looks at its numbers. Only a completion then tells (`completion.py`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vllm_operator.probing.engine_counters import EngineCounters

LOOK_SECONDS = 9.0
"""Pause between two looks: a little below the usual probe interval, so that they come with every probe of that pace."""

STILL_SECONDS = 8.0
"""How long all numbers of an engine must have stood still: a step of a busy one takes seconds at most."""

DEADLINE_SECONDS = 20.0
"""How long a completion may take, and the numbers stand still, before the engine is called stalled."""

MAX_DEADLINE_SECONDS = 120.0

ASK_AGAIN_SECONDS = 19.0
"""Pause after a completion that a busy engine let wait, and the pace of `Always`: a little below two usual probe
intervals, so that whatever freezes right after an answer is asked 20 s later and stalled after 40."""

UNASKABLE_SECONDS = 600.0
"""When to try again a replica that refuses every kind of completion, such as one that transcribes speech."""


@dataclass(frozen=True, slots=True)
class StallSuspicion:
    """An engine that looks frozen.

    Attributes:
        engine: the data-parallel engine that stands still; None when all of the replica do.
        loaded: the engine itself says that it holds requests.
    """

    engine: str | None
    loaded: bool


@dataclass(frozen=True, slots=True)
class StallState:
    """What is kept of a replica between two looks; times are monotonic seconds.

    Attributes:
        pulse: the last look, `at` its time; None before the first, and after a completion.
        still_since: since when the numbers stand still although there is work; None while they move.
        quiet: open connections that are known to be no unanswered requests; None before anything is known.
        deadline: how long this replica's completion may take: a slow one that recovered by itself gets more time.
        ask_after: no completion before this time.
        idle_after: none of an engine that is only idle before this time.
        proven: the engine was seen to work, or the replica to start. One that was there before this process may have
            been frozen all the time, with clients that wait for ever: nothing about them will change.
    """

    pulse: EngineCounters | None = None
    at: float = 0.0
    still_since: float | None = None
    quiet: float | None = None
    deadline: float = DEADLINE_SECONDS
    ask_after: float = 0.0
    idle_after: float = 0.0
    proven: bool = False

    @property
    def look_after(self) -> float:
        """When to look again."""
        if self.pulse is None:  # to look before there may be a question is of no use
            return max(self.at, self.ask_after)
        return self.at + LOOK_SECONDS


def moved(before: EngineCounters, after: EngineCounters, engine: str | None = None) -> bool:
    """Whether `engine`, or any engine, has done anything between two looks."""
    if before.process != after.process:
        return True
    if engine is not None:
        return before.engines.get(engine) != after.engines.get(engine)
    return before.engines != after.engines


def looked(memory: StallState, pulse: EngineCounters, now: float) -> tuple[StallState, StallSuspicion | None]:
    """Take in a look: what is kept from now on, and the suspicion that arises, if any.

    Suspicious is an engine with requests at both looks, none of whose numbers has moved in between. When the numbers
    tell of no requests, because they froze while it was idle, open connections stand for them; and a request that ended
    without any engine's doing was given up by its client. One that was never seen to work is asked once.
    """
    before = memory.pulse
    if before is None or before.process != pulse.process:
        quiet = pulse.connections if memory.quiet is None or before is not None else memory.quiet
        proven = memory.proven or before is not None  # it began anew
        return replace(memory, pulse=pulse, at=now, still_since=None, quiet=quiet, proven=proven), None
    found = _suspicion(memory, before, pulse)
    if found is None:
        return replace(memory, pulse=pulse, at=now, still_since=None, quiet=_quiet(memory, pulse), proven=True), None
    since = memory.at if memory.still_since is None else memory.still_since
    kept = replace(memory, pulse=pulse, at=now, still_since=since)
    return kept, found if now - since >= STILL_SECONDS else None


def _suspicion(memory: StallState, before: EngineCounters, after: EngineCounters) -> StallSuspicion | None:
    for engine, held in after.held.items():
        if held > 0 and before.held.get(engine, 0) > 0 and not moved(before, after, engine):
            return StallSuspicion(engine if len(after.engines) > 1 else None, loaded=True)
    if moved(before, after):
        return None
    given_up = after.answered > before.answered
    if not memory.proven or given_up or (_unanswered(memory, before) and _unanswered(memory, after)):
        return StallSuspicion(None, loaded=False)
    return None


def _unanswered(memory: StallState, pulse: EngineCounters) -> bool:
    return pulse.connections is not None and memory.quiet is not None and pulse.connections > memory.quiet


def _quiet(memory: StallState, pulse: EngineCounters) -> float | None:
    """Fewer connections mean nothing at any time. More of them do so only once a completion was answered beside them:
    an engine that freezes between two requests shows movement and no held request at the look after that."""
    if pulse.connections is None or memory.quiet is None:
        return pulse.connections
    return min(memory.quiet, pulse.connections)


def is_due(memory: StallState, now: float) -> bool:
    """Whether a completion may be asked for again."""
    return now >= memory.ask_after


def is_idle(before: EngineCounters | None, after: EngineCounters) -> bool:
    """Whether an engine neither moves nor says that it holds requests: only a completion tells how it is."""
    return before is not None and not moved(before, after) and not any(after.held.values())


def is_idle_due(memory: StallState, now: float) -> bool:
    """Whether an engine that is only idle may be asked again."""
    return now >= memory.idle_after


def answered(memory: StallState, pulse: EngineCounters | None, now: float) -> StallState:
    """The engine answered a completion; `pulse` is a look after that. Two more looks must find it standing still before
    it is suspicious again, and that is pause enough: one that freezes right after its answer is found as fast."""
    return replace(
        _patient(memory, now),
        pulse=pulse,
        at=now,
        still_since=None,
        quiet=pulse.connections if pulse else memory.quiet,
        idle_after=now + ASK_AGAIN_SECONDS,
        proven=True,
    )


def went_on(memory: StallState, pulse: EngineCounters | None, now: float) -> StallState:
    """The numbers moved while the completion waited: the engine is busy."""
    again = now + ASK_AGAIN_SECONDS
    return replace(_patient(memory, now), pulse=pulse, at=now, still_since=None, ask_after=again, proven=True)


def _patient(memory: StallState, now: float) -> StallState:
    """An engine that stood still and went on by itself has long steps: from now on it gets twice that time."""
    held = memory.pulse is not None and any(memory.pulse.held.values())
    if memory.still_since is None or not (memory.proven or held):  # one that was found idle rightly stood still
        return memory
    return replace(memory, deadline=min(max(memory.deadline, 2 * (now - memory.still_since)), MAX_DEADLINE_SECONDS))


def refused(memory: StallState, now: float) -> StallState:
    """The model takes no such request, so nothing will ever prove its engine."""
    return replace(postponed(memory, now, UNASKABLE_SECONDS), proven=True)


def postponed(memory: StallState, now: float, seconds: float = 0.0) -> StallState:
    """Nothing came of the question: all is looked at anew, and no completion is asked for before `seconds` have passed.

    Requests of ours that were given up count as such, so a comparison with an earlier look would be false.
    """
    return replace(memory, pulse=None, at=now, still_since=None, ask_after=now + seconds)
