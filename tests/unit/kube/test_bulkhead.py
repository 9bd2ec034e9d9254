"""Test that permits bound what runs at once, and that tasks that hang do not use them up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from vllm_operator.kube.bulkhead import CALLER, Bulkhead, SharedBulkhead
from vllm_operator.kube.key import Key


@dataclass
class Holders:
    """Tasks that each acquire a permit and hold it until they are released."""

    entered: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    finish: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, bulkhead: Bulkhead | SharedBulkhead, *names: str, seconds: float = 0.05) -> list[str]:
        """Return the tasks that hold a permit after some seconds.

        The first letter of a name is its caller; in `llm/a`, llm is the namespace of the caller.
        """
        self.tasks += [asyncio.create_task(self._hold(bulkhead, name)) for name in names]
        await asyncio.sleep(seconds)
        return self.entered

    async def finish_all(self) -> list[str]:
        """End all tasks, those that wait included; returns every task that held a permit."""
        self.finish.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.entered

    async def _hold(self, bulkhead: Bulkhead | SharedBulkhead, name: str) -> None:
        namespace, _, instance = name.partition("/")
        CALLER.set(Key(namespace, instance) if instance else name[0])
        permit = await bulkhead.acquire()
        try:
            self.entered.append(name)
            await self.finish.wait()
        finally:
            permit.release()


@pytest.fixture
async def holders() -> AsyncIterator[Holders]:
    made = Holders()
    yield made
    await made.finish_all()


async def test_no_more_tasks_than_permits_run_at_once(holders: Holders) -> None:
    assert await holders.start(Bulkhead(2, release_after=60), *"abc") == ["a", "b"]
    assert await holders.finish_all() == ["a", "b", "c"]


async def test_permit_that_is_held_too_long_goes_to_the_next_task(holders: Holders) -> None:
    assert await holders.start(Bulkhead(1, release_after=0.01), *"ab", seconds=0.1) == ["a", "b"]


async def test_permit_without_release_after_stays_with_its_holder(holders: Holders) -> None:
    assert await holders.start(Bulkhead(1, release_after=None), *"ab", seconds=0.1) == ["a"]


@pytest.mark.parametrize("release_after", [0.01, 60, None])
async def test_permit_is_released_once(holders: Holders, release_after: float | None) -> None:
    bulkhead = Bulkhead(1, release_after)
    permit = await bulkhead.acquire()
    await asyncio.sleep(0.05)
    permit.release()
    permit.release()
    assert await holders.start(bulkhead, *"ab", seconds=0.0) == ["a"]


async def test_cancelled_task_releases_its_permit(holders: Holders) -> None:
    assert await holders.start(Bulkhead(1, release_after=60), *"ab") == ["a"]
    holders.tasks[0].cancel()
    await asyncio.sleep(0.05)
    assert holders.entered == ["a", "b"]


async def test_one_caller_may_hold_all_shared_permits(holders: Holders) -> None:
    assert await holders.start(SharedBulkhead(3, release_after=60), "a1", "a2", "a3") == ["a1", "a2", "a3"]


async def test_caller_has_one_permit_more_when_all_shared_ones_are_taken(holders: Holders) -> None:
    bulkhead = SharedBulkhead(2, release_after=60)
    assert await holders.start(bulkhead, "a1", "a2", "a3", "a4") == ["a1", "a2", "a3"]
    assert await holders.start(bulkhead, "b1", "b2", "c1") == ["a1", "a2", "a3", "b1", "c1"]
    assert sorted(await holders.finish_all()) == ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]


async def test_additional_permit_that_is_held_too_long_is_released_too(holders: Holders) -> None:
    bulkhead = SharedBulkhead(1, release_after=0.01)
    assert await holders.start(bulkhead, "a1", "a2", "a3", seconds=0.1) == ["a1", "a2", "a3"]


async def test_additional_permit_is_forgotten_when_no_task_uses_it(holders: Holders) -> None:
    bulkhead = SharedBulkhead(0, release_after=60)
    for _ in range(2):
        async with bulkhead.permit():
            assert list(bulkhead._by_caller) == [None]
        assert list(bulkhead._by_caller) == []


async def test_many_servers_of_one_namespace_have_a_bounded_number_of_permits(holders: Holders) -> None:
    bulkhead = SharedBulkhead(1, release_after=60, namespace_count=2)
    await holders.start(bulkhead, "flood/a", "flood/b", "flood/c", "flood/d", "quiet/a", "quiet/b")
    assert holders.entered == ["flood/a", "flood/b", "flood/c", "quiet/a", "quiet/b"]
    assert len(await holders.finish_all()) == 6


async def test_hanging_calls_of_a_namespace_do_not_keep_its_permits(holders: Holders) -> None:
    bulkhead = SharedBulkhead(1, release_after=0.01, namespace_count=1)
    assert len(await holders.start(bulkhead, *(f"flood/{name}" for name in "abcdef"), seconds=0.3)) == 6


async def test_cancelled_wait_for_the_namespace_leaves_the_permit_of_the_caller(holders: Holders) -> None:
    bulkhead = SharedBulkhead(0, release_after=60, namespace_count=1)
    await holders.start(bulkhead, "llm/a", "llm/b")
    holders.tasks[1].cancel()
    holders.tasks[0].cancel()
    await asyncio.sleep(0.05)
    assert await holders.start(bulkhead, "llm/b") == ["llm/a", "llm/b"]
