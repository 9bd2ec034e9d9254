"""The built-in generator of load: sends the requests of each stage, and records what becomes of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vllm_operator.benchmark.clients import Clients
from vllm_operator.benchmark.prompts import Prompts
from vllm_operator.benchmark.records import MeasuredRequest
from vllm_operator.benchmark.shapes import Stage, arrivals
from vllm_operator.client import InvalidRequest, VLLMClientError

LONGEST_ERROR = 200
"""Characters of an error that are kept."""

MOST_OPEN = 4096
"""Requests at once of a stage with a rate: beyond, the server is far too slow for the rate, and arrivals wait."""


@dataclass(frozen=True)
class Workload:
    """The requests of a measurement.

    Attributes:
        stages: stages, one after the other.
        seconds: length of each stage; requests under way are waited for.
        most_requests: requests of a stage at most; 0 for no bound.
        output_tokens: tokens of each answer.
        turns: turns of each conversation.
        seed: seed of arrivals and prompts.
    """

    stages: tuple[Stage, ...]
    seconds: float
    most_requests: int
    output_tokens: int
    turns: int = 4
    seed: int = 0


class Generator:
    """Sends the load, and keeps the records.

    Args:
        clients: clients of the replicas; their retries should be off, since a retried request hides an error.
        prompts: source of the prompts.
        clock: seconds since the measurement began.
        began: called with each stage that begins.
        done: called after each request.

    Attributes:
        requests: the requests that ended.
    """

    def __init__(
        self,
        clients: Clients,
        prompts: Prompts,
        clock: Callable[[], float],
        began: Callable[[Stage], None] = lambda stage: None,
        done: Callable[[MeasuredRequest], None] = lambda request: None,
    ) -> None:
        self._clients = clients
        self._prompts = prompts
        self._clock = clock
        self._began = began
        self._done = done
        self._left = 0
        self._full: Counter[str] = Counter()
        self.requests: list[MeasuredRequest] = []

    def notes(self) -> list[str]:
        """Return what else happened, for the report."""
        return [
            f"{stage}: {count} conversations ended early, at the longest context of the model: they are no failures"
            for stage, count in self._full.items()
        ]

    async def run(self, workload: Workload) -> None:
        """Run all stages."""
        for stage in workload.stages:
            self._began(stage)
            self._left = workload.most_requests or -1
            end = self._clock() + workload.seconds
            if stage.kind in {"constant", "poisson"}:
                await self._at_rate(stage, workload, end)
            else:
                workers = (self._worker(stage, workload, end) for _ in range(int(stage.level)))
                await asyncio.gather(*workers)

    def _take(self, end: float) -> bool:
        """Return whether another request may be sent, and count it."""
        if self._left == 0 or self._clock() >= end:
            return False
        self._left -= 1 if self._left > 0 else 0
        return True

    async def _worker(self, stage: Stage, workload: Workload, end: float) -> None:
        while self._clock() < end and self._left != 0:
            prompt = self._prompts.new()
            for turn in self._turns(stage, workload):
                if not self._take(end):
                    return
                answer = await self._send(stage, prompt, workload, turn)
                if answer is None:
                    break
                prompt = self._prompts.follow_up(prompt, answer)

    def _turns(self, stage: Stage, workload: Workload) -> Iterator[int]:
        return iter(range(1, workload.turns + 1)) if stage.kind == "turns" else iter((0,))

    async def _at_rate(self, stage: Stage, workload: Workload, end: float) -> None:
        begin = self._clock()
        places = asyncio.Semaphore(MOST_OPEN)
        async with asyncio.TaskGroup() as group:
            for arrival in arrivals(stage, workload.seed):
                await asyncio.sleep(max(0.0, begin + arrival - self._clock()))
                if not self._take(end):
                    break
                await places.acquire()
                task = group.create_task(self._send(stage, self._prompts.new(), workload, 0))
                task.add_done_callback(lambda _: places.release())

    async def _send(self, stage: Stage, prompt: str, workload: Workload, turn: int) -> str | None:
        """Send one request; return the answer, or None after an error."""
        started, tokens = self._clock(), workload.output_tokens
        try:
            async with self._clients.client() as client:
                stream = client.stream_completions(prompt, max_tokens=tokens, min_tokens=tokens, ignore_eos=True)
                response = await stream.collect()
        except VLLMClientError as error:
            if turn > 1 and isinstance(error, InvalidRequest):
                # Its first turn was accepted, so that the conversation is what is too long now.
                self._full[stage.name] += 1
                return None
            text = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_ERROR]
            self._keep(MeasuredRequest(stage.name, started, None, self._clock() - started, turn=turn, error=text))
            # A server that refuses at once would be asked without a pause.
            await asyncio.sleep(0.1)
            return None
        usage = response.usage
        self._keep(
            MeasuredRequest(
                stage=stage.name,
                started=started,
                first_token=response.time_to_first_token,
                latency=response.latency,
                prompt_tokens=usage.prompt_tokens if usage else None,
                output_tokens=usage.completion_tokens if usage else None,
                turn=turn,
            )
        )
        return response.content

    def _keep(self, request: MeasuredRequest) -> None:
        self.requests.append(request)
        self._done(request)
