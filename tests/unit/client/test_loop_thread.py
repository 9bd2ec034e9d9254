from __future__ import annotations

import asyncio
import threading

import pytest

from vllm_operator.client import ClientClosed
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


def test_callers_get_an_error_of_the_client_when_it_stops() -> None:
    thread = LoopThread()
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            thread.run(asyncio.sleep(60))
        except BaseException as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    thread.run(asyncio.sleep(0.05))
    thread.stop()
    waiting.join(5)

    assert [type(error) for error in errors] == [ClientClosed]
    with pytest.raises(ClientClosed):
        thread.run(asyncio.sleep(0))
