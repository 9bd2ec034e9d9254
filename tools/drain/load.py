"""Send requests to a Service without a pause: on new and on kept connections, streamed and not, and never twice."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, Self

import aiohttp
import httpx

SECONDS = (2, 2, 2, 5, 5, 10, 20, 40, 60)
"""How long an answer should take, as far as the model's context reaches: as many tokens are asked for as came in that
time lately."""

FIRST_SPEED = 30.0
"""Tokens in a second that are expected before the first answer."""

FEWEST_TOKENS, MOST_TOKENS = 20, 1900

THINK_SECONDS = (0.0, 0.1, 0.5, 2.0)
"""Pauses of a client between two requests. Connections that are kept for longer than that are closed by nobody."""

KEEP_SECONDS = 120.0
"""Seconds for which a client keeps an idle connection: longer than the server does."""

REQUEST_SECONDS = 300.0
END_SECONDS = 240.0
"""Seconds for the last requests to end."""

MODEL = "tiny"


class BadAnswerError(Exception):
    """An answer that is no whole completion."""


@dataclass(frozen=True)
class Answer:
    """The parts of an answer that count: its status, and its whole text."""

    status: int
    text: str


class Client(Protocol):
    """A client of one connection at a time."""

    async def post(self, url: str, body: dict[str, object], headers: dict[str, str]) -> Answer:
        """Send one request; never again after a failure."""


@dataclass(frozen=True)
class Lost:
    """A request without a whole answer."""

    second: float
    client: str
    streamed: bool
    cause: str


@dataclass
class Outcome:
    """The requests of one event.

    Attributes:
        total: requests that were sent and ended.
        seconds: how long each answered request took.
        lost: the requests without a whole answer.
        refused: refused connections of attempts that began or ended while `expect_refusals` was set: nobody was
            there to answer.
    """

    total: int = 0
    seconds: list[float] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    refused: int = 0
    clients: Counter[str] = field(default_factory=Counter)

    def describe(self) -> str:
        """Return the figures in one line, with the first losses."""
        ordered = sorted(self.seconds) or [0.0]
        middle, longest = ordered[len(ordered) // 2], ordered[-1]
        took = f"answers took {ordered[0]:.1f} to {longest:.1f} s, median {middle:.1f} s"
        refused = f", and {self.refused} refused while it slept" if self.refused else ""
        text = f"{len(self.lost)} of {self.total} lost{refused}; {took}"
        causes = Counter(f"{one.client}: {one.cause}" for one in self.lost)
        seconds = ", ".join(f"{one.second:.0f}" for one in self.lost[:20])
        when = [f"    begun at second {seconds}"] if self.lost else []
        return "\n".join([text, *(f"    {count} x {cause}" for cause, count in causes.most_common(8)), *when])


class Load:
    """Clients in a thread of their own, from `start` until `stop`.

    Args:
        url: base URL of the Service.
        clients: number of clients of each kind.
        seed: seed of the lengths and pauses.
        seconds: how long answers should take.
        model: name of the model; None for whatever the server serves.
        key: API key; empty for none. It may be changed while the load runs.
    """

    def __init__(
        self,
        url: str,
        clients: int = 1,
        seed: int = 1,
        seconds: tuple[float, ...] = SECONDS,
        model: str | None = MODEL,
        key: str = "",
    ) -> None:
        self.key = key
        self._seconds = seconds
        self._model = {} if model is None else {"model": model}
        self._url = f"{url}/v1/completions"
        self._clients = clients
        self._random = random.Random(seed)
        self._ends = threading.Event()
        self._outcome = Outcome()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._speed = FIRST_SPEED
        self.expect_refusals = False
        self.active: int | None = None
        """Clients that send requests; None for all. The others wait."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Outcome:
        """Let the running requests end; return all that was counted."""
        self._ends.set()
        self._thread.join(END_SECONDS)
        return self._outcome

    def so_far(self) -> Outcome:
        """Return what was counted until now."""
        return self._outcome

    def elapsed(self) -> float:
        """Return the seconds since this object was made, the clock of `Lost.second`."""
        return time.monotonic() - self._began

    def answered(self) -> int:
        """Return the number of answered requests so far."""
        return len(self._outcome.seconds)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for first in range(self._clients):
                for kind, (name, context) in enumerate(client_contexts().items()):
                    group.create_task(self._work(4 * first + kind, name, context))

    async def _work(self, number: int, name: str, context: AbstractAsyncContextManager[Client]) -> None:
        async with context as client:
            while not self._ends.is_set():
                if self.active is not None and number >= self.active:
                    await asyncio.sleep(0.2)
                    continue
                streamed = self._random.random() < 0.5
                await self._one(client, name, streamed)
                await asyncio.sleep(self._random.choice(THINK_SECONDS))

    async def _one(self, client: Client, name: str, streamed: bool) -> None:
        wanted = self._speed * self._random.choice(self._seconds)
        tokens = int(min(max(wanted, FEWEST_TOKENS), MOST_TOKENS))
        body = {**self._model, "prompt": "hello", "max_tokens": tokens, "ignore_eos": True, "stream": streamed}
        began = time.monotonic()
        outcome, begins_unserved = self._outcome, self.expect_refusals
        try:
            check(await client.post(self._url, body, self._headers()), streamed)
        except (aiohttp.ClientConnectorError, httpx.ConnectError) as error:
            # An attempt that begins while nobody serves may be refused only later: its packets are repeated.
            if begins_unserved or self.expect_refusals:
                outcome.refused += 1
                await asyncio.sleep(0.5)
                return
            self._lose(name, streamed, began, error)
        except Exception as error:  # whatever a client raises is a lost request
            self._lose(name, streamed, began, error)
        else:
            seconds = time.monotonic() - began
            outcome.seconds.append(seconds)
            self._speed += 0.2 * (tokens / seconds - self._speed)
        outcome.total += 1
        outcome.clients[name] += 1

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def _lose(self, name: str, streamed: bool, began: float, error: Exception) -> None:
        cause = f"{type(error).__name__}: {error}"[:160]
        self._outcome.lost.append(Lost(round(began - self._began, 1), name, streamed, cause))


def check(answer: Answer, streamed: bool) -> None:
    """Raise BadAnswerError unless an answer is a whole completion."""
    if answer.status != 200:
        raise BadAnswerError(f"HTTP {answer.status}")
    if not streamed:
        choice = json.loads(answer.text)["choices"][0]
        reason = choice["finish_reason"]
    else:
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            raise BadAnswerError("the stream was cut off")
        reason = next((json.loads(event)["choices"][0]["finish_reason"] for event in events[-2:-1]), None)
    if reason != "length":
        raise BadAnswerError(f"the answer ended with {reason}")


@asynccontextmanager
async def aiohttp_client(kept: bool) -> AsyncIterator[Client]:
    """Yield a client of aiohttp. Certificates of tests are signed by nobody."""
    connector = (
        aiohttp.TCPConnector(limit=1, keepalive_timeout=KEEP_SECONDS, ssl=False)
        if kept
        else aiohttp.TCPConnector(limit=1, force_close=True, ssl=False)
    )
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)

    class Aiohttp:
        async def post(self, url: str, body: dict[str, object], headers: dict[str, str]) -> Answer:
            async with session.post(url, json=body, headers=headers) as response:
                return Answer(response.status, await response.text())

    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Aiohttp()


@asynccontextmanager
async def httpx_client(kept: bool) -> AsyncIterator[Client]:
    """Yield a client of httpx."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=int(kept), keepalive_expiry=KEEP_SECONDS)

    class Httpx:
        async def post(self, url: str, body: dict[str, object], headers: dict[str, str]) -> Answer:
            response = await session.post(url, json=body, headers=headers)
            return Answer(response.status_code, response.text)

    async with httpx.AsyncClient(limits=limits, timeout=REQUEST_SECONDS, trust_env=False, verify=False) as session:
        yield Httpx()


def client_contexts() -> dict[str, AbstractAsyncContextManager[Client]]:
    """Return a client of each kind, by its name."""
    return {
        "aiohttp, kept connection": aiohttp_client(kept=True),
        "aiohttp, new connections": aiohttp_client(kept=False),
        "httpx, kept connection": httpx_client(kept=True),
        "httpx, new connections": httpx_client(kept=False),
    }
