from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiohttp import web

from vllm_operator.gateway import held_reader
from vllm_operator.gateway.held_reader import AGENT_PORT, MAX_PODS, HeldReader

addresses: Iterator[str] = (f"127.66.40.{number}" for number in count(1))


def pod(address: str, phase: str = "Running") -> dict[str, Any]:
    return {"status": {"phase": phase, "podIP": address}}


@asynccontextmanager
async def fake_agent(answer: str, seconds: float = 0.0, status: int = 200) -> AsyncIterator[str]:
    async def held(_: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(text=answer, status=status, headers={"Location": "/held"})

    address, app = next(addresses), web.Application()
    app.router.add_get("/held", held)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address, AGENT_PORT).start()
    yield address
    await runner.cleanup()


async def read(*answers: str, pods: tuple[dict[str, Any], ...] = (), **options: Any) -> dict[str, int] | None:
    reader = HeldReader()
    async with AsyncExitStack() as stack:
        agents = [pod(await stack.enter_async_context(fake_agent(answer, **options))) for answer in answers]
        counts = await reader.read("chat", [*agents, *pods])
    await reader.close()
    return None if counts is None else dict(counts.by_server)


async def test_the_counts_of_all_agents_are_added_up() -> None:
    found = await read('{"held": {"a": 2, "b": 1}}', '{"held": {"a": 3, "c": 0}}')
    assert found == {"a": 5, "b": 1}


async def test_pods_without_an_agent_hold_nothing() -> None:
    nobody = next(addresses)
    assert await read(pods=(pod(nobody), pod("", "Running"), pod("203.0.113.1", "Pending"))) == {}


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        '{"held": 5}',
        '{"held": {"a": -1}}',
        '{"held": {"a": true}}',
        '{"held": {"a\\nb": 1}}',
        '{"held": {"' + "a" * 400 + '": 1}}',
        '{"held": {"a": 1e300}}',
        '{"held": {"a": 99999999}}',
        '{"held": {"a": 1}' + " " * 70_000 + "}",
        "[" * 60_000,
    ],
)
async def test_what_no_agent_answers_is_unknown(answer: str) -> None:
    assert await read('{"held": {"a": 2}}', answer) is None


async def test_redirects_and_errors_are_unknown() -> None:
    assert await read("{}", status=302) is None
    assert await read("{}", status=500) is None


async def test_an_agent_that_does_not_answer_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_reader, "ANSWER_SECONDS", 0.2)
    assert await read('{"held": {}}', seconds=5) is None


async def test_more_pods_than_are_asked_are_unknown() -> None:
    nobody = next(addresses)
    assert await read(pods=(pod(nobody),) * (MAX_PODS + 1)) is None


async def test_an_answer_counts_for_five_seconds() -> None:
    now = 100.0
    reader = HeldReader(lambda: now)
    async with fake_agent('{"held": {"a": 1}}') as address:
        first = await reader.read("chat", [pod(address)])
    assert first is not None
    assert first.age == 0
    now = 104.0
    second = await reader.read("chat", [pod(address)])
    assert second is not None
    assert (second.total, second.age) == (1, 4.0)
    assert await reader.read("other", []) is not None
    now = 106.0
    third = await reader.read("chat", [pod(address)])
    assert third is not None
    assert third.total == 0
    reader.forget("chat")
    await reader.close()


async def test_refused_parts_of_all_agents_are_read_and_bounded() -> None:
    reader = HeldReader()
    answers = (
        '{"held": {}, "refused": ["routes", "listeners"]}',
        '{"held": {}, "refused": ["listeners", 3, "x\\ny"]}',
        '{"held": {}, "refused": "nonsense"}',
        '{"held": {}}',
    )
    async with AsyncExitStack() as stack:
        agents = [pod(await stack.enter_async_context(fake_agent(answer))) for answer in answers]
        counts = await reader.read("chat", agents)
    await reader.close()
    assert counts is not None
    assert counts.refused == ("listeners", "routes", "x y")
