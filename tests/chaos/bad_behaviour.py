"""The ways in which an API server, or what stands before it, fails its clients."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.chaos.proxy import Answer, Call, Dropped, Fault


@dataclass
class Bad(Fault):
    """A fault that is there from the start, and strikes while it is active."""

    active: bool = False
    struck: int = 0

    def strike(self) -> bool:
        """Return whether the fault is active now, and count the call."""
        self.struck += self.active
        return self.active


@dataclass
class Errors(Bad):
    """Calls are answered with an error that the API server never saw; watches and lists too, unless some only."""

    status: int = 500
    reason: str = "InternalError"
    headers: dict[str, str] = field(default_factory=dict)
    only: Callable[[Call], bool] = lambda _: True

    async def before(self, call: Call) -> Answer | None:
        if not self.only(call) or not self.strike():
            return None
        return Answer.error(self.status, self.reason, **self.headers)


@dataclass
class Rotated(Bad):
    """Once active, only one token is let in."""

    accepted: str = "the next one"

    async def before(self, call: Call) -> Answer | None:
        if call.authorization == f"Bearer {self.accepted}" or not self.strike():
            return None
        return Answer.error(401, "Unauthorized")


@dataclass
class LostAnswers(Bad):
    """Writes take effect, but the answer is an error or a closed connection (status 0)."""

    status: int = 504

    async def after(self, call: Call, answer: Answer) -> Answer:
        if not call.is_write or not self.strike():
            return answer
        if self.status > 0:
            return Answer.error(self.status, "Timeout")
        raise Dropped


@dataclass
class HangingAnswers(Bad):
    """Writes take effect, but are never answered."""

    async def after(self, call: Call, answer: Answer) -> Answer:
        if call.is_write and self.strike():
            await asyncio.sleep(3600)
        return answer


@dataclass
class Hanging(Bad):
    """Writes never reach the API server, and nothing is ever answered."""

    async def before(self, call: Call) -> Answer | None:
        if call.is_write and self.strike():
            await asyncio.sleep(3600)
        return None


@dataclass
class Halved(Bad):
    """Answers end in the middle: as a short body, or torn (the connection breaks)."""

    torn: bool = False

    async def after(self, call: Call, answer: Answer) -> Answer:
        if not self.strike():
            return answer
        body = answer.body if self.torn else answer.body[: len(answer.body) // 2]
        return Answer(answer.status, body, answer.content_type, torn=self.torn)

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in lines:
            if self.strike():
                yield line[: len(line) // 2]
                raise Dropped
            yield line


@dataclass
class Unheard(Bad):
    """Watch events are dropped; afterwards the watch goes on, or stays silent until it is closed."""

    goes_on: bool = False

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        since = 0.0
        async for line in lines:
            since = since or (time.monotonic() if self.active else 0.0)
            if not since or (self.goes_on and not self.active):
                yield line
            else:
                self.struck += 1


@dataclass
class Repeated(Bad):
    """Every event comes three times."""

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in lines:
            for _ in range(3 if self.strike() else 1):
                yield line


@dataclass
class Reordered(Bad):
    """Events of half a second come in reverse order."""

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for batch in _batches(lines, lambda: 0.5 if self.active else 0.0):
            self.struck += len(batch) > 1
            for line in reversed(batch):
                yield line


@dataclass
class ErrorEvents(Bad):
    """Watches are refused for a while, and those that come afterwards begin with an ERROR event."""

    code: int = 410
    reason: str = "Expired"
    refused_seconds: float = 0.0
    _since: float = 0.0
    _told: set[str] = field(default_factory=set)

    async def before(self, call: Call) -> Answer | None:
        self._since = self._since or (time.monotonic() if self.active else 0.0)
        refusing = self.active and time.monotonic() - self._since < self.refused_seconds
        return Answer.error(503, "ServiceUnavailable") if refusing and call.is_watch else None

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.active and call.path not in self._told:
            self._told.add(call.path)
            self.struck += 1
            status = {"kind": "Status", "status": "Failure", "code": self.code, "reason": self.reason}
            yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
            return
        async for line in lines:
            yield line


@dataclass
class HalvedLists(ErrorEvents):
    """Watches end with 410, and the lists that follow end in the middle."""

    async def after(self, call: Call, answer: Answer) -> Answer:
        if not call.is_list or not self.strike():
            return answer
        return Answer(answer.status, answer.body[: len(answer.body) // 2], answer.content_type)


@dataclass
class HalvedEvents(Bad):
    """Watches end properly, but in the middle of an event."""

    async def events(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for line in lines:
            if self.strike():
                yield line[: len(line) // 2]
                return
            yield line


@dataclass
class StaleLists(ErrorEvents):
    """Watches end with 410, and the lists that follow are those of before."""

    _lists: dict[str, Answer] = field(default_factory=dict)

    async def after(self, call: Call, answer: Answer) -> Answer:
        if not call.is_list:
            return answer
        known = self._lists.setdefault(f"{call.path} {call.query.get('labelSelector')}", answer)
        if self.strike():
            return known
        self._lists[f"{call.path} {call.query.get('labelSelector')}"] = answer
        return answer


async def _batches(lines: AsyncIterator[bytes], seconds: object) -> AsyncIterator[list[bytes]]:
    """Lines, gathered for some time from the first on."""
    assert callable(seconds)
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def fill() -> None:
        async for line in lines:
            queue.put_nowait(line)
        queue.put_nowait(None)

    filler = asyncio.create_task(fill())
    try:
        while (line := await queue.get()) is not None:
            batch, end = [line], loop.time() + seconds()
            while loop.time() < end:
                try:
                    following = await asyncio.wait_for(queue.get(), end - loop.time())
                except TimeoutError:
                    break
                if following is None:
                    yield batch
                    return
                batch.append(following)
            yield batch
    finally:
        filler.cancel()
