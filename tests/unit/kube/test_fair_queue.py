"""Items of several namespaces in turns, and the share of one namespace."""

from __future__ import annotations

import asyncio

import pytest

from vllm_operator.kube.fair_queue import FairQueue


def queue_of(*names: str, share: int = 1, release_after: float | None = None) -> FairQueue[str]:
    """Return a queue of items; the first letter of each is its namespace."""
    queue: FairQueue[str] = FairQueue(share, release_after)
    for name in names:
        queue.put(name[0], name, name)
    return queue


async def test_namespaces_take_turns_and_keep_their_order() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "c1", "b2", share=10)
    taken = [(await queue.get())[0] for _ in range(6)]
    assert taken == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_namespace_that_has_its_share_waits_until_a_turn_ends() -> None:
    queue = queue_of("a1", "a2")
    _, turn = await queue.get()
    later = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not later.done()
    turn.release()
    turn.release()
    assert (await later)[0] == "a2"


async def test_other_namespace_does_not_wait_for_one_that_has_its_share() -> None:
    queue = queue_of("a1", "a2", "a3", share=2)
    (first, turn), (second, _) = await queue.get(), await queue.get()
    assert [first, second] == ["a1", "a2"]
    third = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put("b", "b1", "b1")
    assert (await third)[0] == "b1"
    turn.release()
    assert (await queue.get())[0] == "a3"


async def test_items_without_a_namespace_have_no_limit() -> None:
    queue: FairQueue[int] = FairQueue(1)
    for number in range(3):
        queue.put(None, number, number)
    assert [(await queue.get())[0] for _ in range(3)] == [0, 1, 2]


async def test_waiting_item_of_the_same_name_is_replaced() -> None:
    queue: FairQueue[str] = FairQueue(10)
    queue.put("a", "pod", "first run")
    queue.put("a", "pod", "second run")
    assert (await queue.get())[0] == "second run"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.001)


async def test_turn_ends_by_itself_when_its_time_is_over() -> None:
    queue = queue_of("a1", "a2", release_after=0.01)
    await queue.get()
    assert (await asyncio.wait_for(queue.get(), 5))[0] == "a2"


async def test_queue_without_items_holds_no_namespace() -> None:
    queue = queue_of("a1")
    _, turn = await queue.get()
    turn.release()
    assert queue._waiting == {}
    assert not queue._at_work
