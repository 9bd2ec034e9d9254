"""A bound on what runs at once, that those who hang do not use up."""

from __future__ import annotations

import asyncio

from vllm_operator.cluster.slots import Slots


async def entered(slots: Slots, stay: asyncio.Event, log: list[str], name: str) -> None:
    async with slots.stay():
        log.append(name)
        await stay.wait()


async def test_no_more_than_the_slots_are_in_at_once() -> None:
    slots, stay, log = Slots(2, patience=60), asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(entered(slots, stay, log, name)) for name in "abc"]
    await asyncio.sleep(0.05)
    assert log == ["a", "b"]
    stay.set()
    await asyncio.gather(*tasks)
    assert log == ["a", "b", "c"]


async def test_who_stays_too_long_goes_on_without_a_slot() -> None:
    slots, stay, log = Slots(1, patience=0.01), asyncio.Event(), list[str]()
    tasks = [asyncio.create_task(entered(slots, stay, log, name)) for name in "ab"]
    await asyncio.sleep(0.1)
    assert log == ["a", "b"]
    stay.set()
    await asyncio.gather(*tasks)


async def test_a_slot_is_given_back_once() -> None:
    slots, stay, log = Slots(1, patience=0.01), asyncio.Event(), list[str]()
    stay.set()
    async with slots.stay():
        await asyncio.sleep(0.05)
    slots = Slots(1, patience=60)
    slot = await slots.take()
    slot.leave()
    slot.leave()
    stay.clear()
    tasks = [asyncio.create_task(entered(slots, stay, log, name)) for name in "ab"]
    await asyncio.sleep(0.05)
    assert log == ["a"]
    stay.set()
    await asyncio.gather(*tasks)


async def test_one_that_is_cancelled_leaves_its_slot() -> None:
    slots, stay, log = Slots(1, patience=60), asyncio.Event(), list[str]()
    first, second = (asyncio.create_task(entered(slots, stay, log, name)) for name in "ab")
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.05)
    assert log == ["a", "b"]
    stay.set()
    await second
