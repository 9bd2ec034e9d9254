from __future__ import annotations

import asyncio
import threading

import pytest

from vllm_operator.client.loop_thread import LoopThread


async def thread_name() -> str:
    return threading.current_thread().name


def test_coroutines_run_in_its_thread() -> None:
    thread = LoopThread()
    try:
        assert thread.run(thread_name()) == "vllm-client"
    finally:
        thread.stop()


def test_error_of_a_coroutine_is_raised() -> None:
    thread = LoopThread()
    try:
        with pytest.raises(TimeoutError):
            thread.run(asyncio.wait_for(asyncio.sleep(60), 0.01))
    finally:
        thread.stop()


def test_call_from_its_own_thread_is_refused_instead_of_waiting_without_end() -> None:
    thread = LoopThread()

    async def nested() -> None:
        thread.run(thread_name())

    try:
        with pytest.raises(RuntimeError, match="use AsyncVLLMClient"):
            thread.run(nested())
    finally:
        thread.stop()


def test_stopping_cancels_what_runs() -> None:
    thread = LoopThread()
    future = asyncio.run_coroutine_threadsafe(asyncio.sleep(60), thread.loop)
    thread.run(asyncio.sleep(0))
    thread.stop()
    thread.stop()

    assert thread.loop.is_closed()
    assert future.cancelled()
