"""One request of a measurement, and one sample of the server while it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class MeasuredRequest:
    """One request.

    Attributes:
        stage: name of its stage.
        started: seconds since the measurement began.
        first_token: seconds to the first token; None for a failed request.
        latency: seconds to the whole answer, or to the error.
        prompt_tokens: tokens of the prompt; None when the server did not count.
        output_tokens: tokens of the answer.
        turn: turn of a conversation, from 1; 0 outside of one.
        error: class and message of the error; empty for an answer.
    """

    stage: str
    started: float
    first_token: float | None
    latency: float
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    turn: int = 0
    error: str = ""

    @property
    def seconds_per_token(self) -> float | None:
        """Seconds for each token after the first (TPOT); None for answers of fewer than two tokens."""
        if self.first_token is None or not self.output_tokens or self.output_tokens < 2:
            return None
        return (self.latency - self.first_token) / (self.output_tokens - 1)


@dataclass(frozen=True)
class Sample:
    """The server at one moment; None for what could not be read.

    Attributes:
        seconds: seconds since the measurement began.
        running: requests that run, in all engines that answered.
        waiting: requests that wait.
        replicas: replicas that are ready.
        wanted: replicas that the autoscaler wants.
        average: running requests for each replica that the autoscaler sees.
        target: running requests for each replica that it aims at.
        phases: phase of the replicas -> their number.
    """

    seconds: float
    running: float | None = None
    waiting: float | None = None
    replicas: int | None = None
    wanted: int | None = None
    average: float | None = None
    target: float | None = None
    phases: Mapping[str, int] = field(default_factory=dict)
