"""Keys of several namespaces in turns, and the share of one namespace."""

from __future__ import annotations

import asyncio

import pytest

from vllm_operator.controller.fair_queue import FairQueue, namespace_of, share_of
from vllm_operator.kube.key import Key


@pytest.mark.parametrize(("workers", "share"), [(1, 1), (2, 1), (4, 3), (8, 6), (32, 24)])
def test_one_namespace_takes_three_quarters_of_the_workers(workers: int, share: int) -> None:
    assert share_of(workers) == share


def test_namespace_is_that_of_a_key() -> None:
    assert namespace_of(Key("llm", "mistral")) == "llm"
    assert namespace_of("mistral") is None


async def test_keys_of_one_namespace_keep_their_order_and_take_turns_with_others() -> None:
    queue: FairQueue[Key] = FairQueue(10, None)
    for key in (Key("a", "1"), Key("a", "2"), Key("b", "1"), Key("a", "3"), Key("b", "2")):
        queue.put(key)
    taken = [(await queue.get())[0] for _ in range(5)]
    assert taken == [Key("a", "1"), Key("b", "1"), Key("a", "2"), Key("b", "2"), Key("a", "3")]


async def test_namespace_that_has_its_share_waits_until_a_turn_ends() -> None:
    queue: FairQueue[Key] = FairQueue(1, None)
    queue.put(Key("a", "1"))
    queue.put(Key("a", "2"))
    _, turn = await queue.get()
    later = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not later.done()
    turn.release()
    turn.release()
    assert (await later)[0] == Key("a", "2")


async def test_turn_ends_by_itself_when_its_time_is_over() -> None:
    queue: FairQueue[Key] = FairQueue(1, 0.01)
    queue.put(Key("a", "1"))
    queue.put(Key("a", "2"))
    await queue.get()
    assert (await asyncio.wait_for(queue.get(), 5))[0] == Key("a", "2")


async def test_queue_without_keys_holds_no_namespace() -> None:
    queue: FairQueue[Key] = FairQueue(1, None)
    queue.put(Key("a", "1"))
    _, turn = await queue.get()
    turn.release()
    assert queue._waiting == {}
    assert not queue._running
