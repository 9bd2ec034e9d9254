from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from vllm_operator.api.gateway_access import Limit
from vllm_operator.gateway.limits.limiter import Limiter, RateDecision
from vllm_operator.gateway.limits.messages import Descriptor
from vllm_operator.gateway.limits.service import LimitCall, LimitService, NoPeers, read_call

NAMES = {"key": "alice", "model": "m", "request": "r"}


class FakePeers:
    """Peers of which one counts for every key, or does not answer."""

    count = 2

    def __init__(self, decision: RateDecision | None) -> None:
        self.decision = decision
        self.asked = 0

    def owner(self, key: str) -> str | None:
        return "10.0.0.2:8083"

    async def ask(self, address: str, call: LimitCall) -> RateDecision:
        self.asked += 1
        if self.decision is None:
            raise ConnectionError(address)
        return self.decision


def message(phase: str) -> bytes:
    def field(number: int, value: bytes) -> bytes:
        return bytes((number << 3 | 2, len(value))) + value

    entries = {"phase": phase, **NAMES}
    return field(2, b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in entries.items()))


def code(answer: bytes | Awaitable[bytes]) -> int:
    async def wait(later: Awaitable[bytes]) -> bytes:
        return await later

    return (answer if isinstance(answer, bytes) else asyncio.run(wait(answer)))[1]


def limiter(requests: int) -> Limiter:
    return Limiter([Limit.model_validate({"requestsPerMinute": requests})])


def test_the_phases_of_a_call_are_read() -> None:
    start = Descriptor({"phase": "start", **NAMES}, 1)
    end, tokens = Descriptor({"phase": "end", **NAMES}, 0), Descriptor({"phase": "tokens", **NAMES}, 42)
    assert read_call([start]) == LimitCall("start", "alice", "m", "r")
    assert read_call([end, tokens]) == LimitCall("end", "alice", "m", "r", 42)
    assert read_call([end]) == LimitCall("end", "alice", "m", "r", 0)
    assert read_call([]) is None
    assert read_call([Descriptor({"phase": "start"})]) is None


def test_one_agent_counts_at_once() -> None:
    service = LimitService(limiter(1), NoPeers(), lambda: 0.0)
    assert [code(service.handle(message("start"))) for _ in range(2)] == [1, 2]
    assert code(service.handle(b"")) == 1


def test_the_agent_that_counts_for_the_key_decides() -> None:
    service = LimitService(limiter(100), FakePeers(RateDecision(False)), lambda: 0.0)
    assert code(service.handle(message("start"))) == 2


def test_without_that_agent_each_uses_its_share_and_asks_again_later() -> None:
    peers, now = FakePeers(None), [0.0]
    service = LimitService(limiter(4), peers, lambda: now[0])
    assert [code(service.handle(message("start"))) for _ in range(3)] == [1, 1, 2]
    assert peers.asked == 1
    now[0] = 6.0
    service_answer = service.handle(message("start"))
    assert code(service_answer) == 2
    assert peers.asked == 2


class FakeLostPeers(FakePeers):
    """Two peers that do not answer, and take turns."""

    count = 3

    def __init__(self) -> None:
        super().__init__(None)
        self.turn = 0

    def owner(self, key: str) -> str | None:
        self.turn += 1
        return f"10.0.0.{2 + self.turn % 2}:8083"


def test_two_agents_that_do_not_count_are_both_left_alone_for_a_while() -> None:
    peers, now = FakeLostPeers(), [0.0]
    service = LimitService(limiter(600), peers, lambda: now[0])
    assert [code(service.handle(message("start"))) for _ in range(6)] == [1] * 6
    assert peers.asked == 2
