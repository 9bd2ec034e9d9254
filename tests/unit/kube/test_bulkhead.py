"""Bounds on what runs at once, that those who hang do not use up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from vllm_operator.kube.bulkhead import OWNER, Bulkhead, SharedBulkhead


@dataclass
class Guests:
    """Tasks that each take a slot and stay until they are told to go."""

    entered: list[str] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    going: asyncio.Event = field(default_factory=asyncio.Event)

    async def come(self, slots: Bulkhead | SharedBulkhead, *names: str, seconds: float = 0.05) -> list[str]:
        """Who is in after a while; the first letter of a name is its owner."""
        self.tasks += [asyncio.create_task(self._stay(slots, name)) for name in names]
        await asyncio.sleep(seconds)
        return self.entered

    async def go(self) -> list[str]:
        """All go, and those who wait come after them; who has been in."""
        self.going.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.entered

    async def _stay(self, slots: Bulkhead | SharedBulkhead, name: str) -> None:
        OWNER.set(name[0])
        slot = await slots.take()
        try:
            self.entered.append(name)
            await self.going.wait()
        finally:
            slot.leave()


@pytest.fixture
async def guests() -> AsyncIterator[Guests]:
    made = Guests()
    yield made
    await made.go()


async def test_no_more_than_the_slots_are_in_at_once(guests: Guests) -> None:
    assert await guests.come(Bulkhead(2, patience=60), *"abc") == ["a", "b"]
    assert await guests.go() == ["a", "b", "c"]


async def test_who_stays_too_long_goes_on_without_a_slot(guests: Guests) -> None:
    assert await guests.come(Bulkhead(1, patience=0.01), *"ab", seconds=0.1) == ["a", "b"]


async def test_without_patience_everyone_is_waited_for(guests: Guests) -> None:
    assert await guests.come(Bulkhead(1, patience=None), *"ab", seconds=0.1) == ["a"]


@pytest.mark.parametrize("patience", [0.01, 60, None])
async def test_slot_is_given_back_once(guests: Guests, patience: float | None) -> None:
    slots = Bulkhead(1, patience)
    slot = await slots.take()
    await asyncio.sleep(0.05)
    slot.leave()
    slot.leave()
    assert await guests.come(slots, *"ab", seconds=0.0) == ["a"]


async def test_one_that_is_cancelled_leaves_its_slot(guests: Guests) -> None:
    assert await guests.come(Bulkhead(1, patience=60), *"ab") == ["a"]
    guests.tasks[0].cancel()
    await asyncio.sleep(0.05)
    assert guests.entered == ["a", "b"]


async def test_shared_slots_are_for_anyone(guests: Guests) -> None:
    assert await guests.come(SharedBulkhead(3, patience=60), "a1", "a2", "a3") == ["a1", "a2", "a3"]


async def test_who_finds_all_shared_slots_taken_has_one_of_its_own(guests: Guests) -> None:
    slots = SharedBulkhead(2, patience=60)
    assert await guests.come(slots, "a1", "a2", "a3", "a4") == ["a1", "a2", "a3"]
    assert await guests.come(slots, "b1", "b2", "c1") == ["a1", "a2", "a3", "b1", "c1"]
    assert sorted(await guests.go()) == ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]


async def test_own_slot_is_left_too_by_who_stays_too_long(guests: Guests) -> None:
    slots = SharedBulkhead(1, patience=0.01)
    assert await guests.come(slots, "a1", "a2", "a3", seconds=0.1) == ["a1", "a2", "a3"]


async def test_own_slot_is_there_again_and_forgotten_when_nobody_uses_it(guests: Guests) -> None:
    slots = SharedBulkhead(0, patience=60)
    for _ in range(2):
        async with slots.stay():
            assert list(slots._own) == [None]
        assert list(slots._own) == []
