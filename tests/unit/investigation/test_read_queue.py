"""Namespaces take turns, and none has more than its share."""

from __future__ import annotations

import asyncio

import pytest

from vllm_operator.investigation.read_queue import ReadQueue


async def test_namespaces_take_turns_and_keep_their_order() -> None:
    queue: ReadQueue[str] = ReadQueue(share=10)
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.put(name[0], name, name)
    taken = [(await queue.take())[1] for _ in range(6)]
    assert taken == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_namespace_waits_when_its_share_is_at_work() -> None:
    queue: ReadQueue[int] = ReadQueue(share=2)
    for number in range(3):
        queue.put("a", number, number)
    assert [await queue.take() for _ in range(2)] == [("a", 0), ("a", 1)]
    third = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put("b", 9, 9)
    assert await third == ("b", 9)
    queue.finish("a")
    assert await queue.take() == ("a", 2)


async def test_waiting_item_of_the_same_name_is_replaced() -> None:
    queue: ReadQueue[str] = ReadQueue(share=10)
    queue.put("a", "pod", "first run")
    queue.put("a", "pod", "second run")
    assert await queue.take() == ("a", "second run")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.take(), 0.001)
