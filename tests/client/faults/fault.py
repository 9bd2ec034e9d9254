"""A fault between client and server, and how a call must end under it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client.faults.server import Behaviour, FaultServer, eventually, fault_server
from vllm_operator.client import (
    AsyncVLLMClient,
    ClientConfig,
    Limits,
    RetryPolicy,
    Timeouts,
    VLLMClient,
    VLLMClientError,
)

ONCE = RetryPolicy(max_attempts=1)
PATIENT = Timeouts(connect=3, first_token=8, between_tokens=8, whole=10)
"""Seconds for faults that end a call at once: none of these is reached."""
HASTY = Timeouts(connect=0.3, first_token=0.3, between_tokens=0.3, whole=0.6)
"""Seconds for faults that last."""
MARGIN_SECONDS = 5.0
"""A call ends at most this long after its deadline, on a busy machine."""
USUAL = Limits()
SMALL = Limits(max_response_bytes=200_000, max_event_bytes=50_000)

Expected = type[VLLMClientError] | tuple[type[VLLMClientError], ...] | str | None


@dataclass(frozen=True)
class Fault:
    """A fault and its outcome.

    Attributes:
        behaviour: what the server does.
        plain: error of a plain call, or its answer; None if the fault is only possible for a stream.
        stream: the same for a stream.
        check: further assertions about the error.
        kept: the connection is in order afterwards, so the client may keep it.
        partial: text that a stream yields before its error; None for any.
        timeouts: those of the call.
        limits: those of the client.
    """

    behaviour: Behaviour
    plain: Expected
    stream: Expected
    check: Callable[[Any], None] | None = None
    kept: bool = False
    partial: str | None = ""
    timeouts: Timeouts = PATIENT
    limits: Limits = USUAL


@dataclass
class Outcome:
    """The end of one call.

    Attributes:
        content: text that arrived.
        error: the error that ended it.
        seconds: time that it took.
    """

    content: str = ""
    error: Exception | None = None
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)


def run(server: FaultServer, fault: Fault, *, is_async: bool, streamed: bool) -> Outcome:
    """Make one call, close the client, and assert that nothing is left of it."""
    config = ClientConfig(
        base_url=server.url, model="tiny", retries=ONCE, timeouts=fault.timeouts, limits=fault.limits, api_key="secret"
    )
    outcome = (
        asyncio.run(_async_call(server, fault, config, streamed))
        if is_async
        else _sync_call(server, fault, config, streamed)
    )
    assert eventually(lambda: server.client_sockets() == 0), "the closed client holds a connection"
    gc.collect()
    assert outcome.complaints == []
    return outcome


async def _async_call(server: FaultServer, fault: Fault, config: ClientConfig, streamed: bool) -> Outcome:
    outcome = Outcome()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: outcome.complaints.append(str(context)))
    before = asyncio.all_tasks()
    client = AsyncVLLMClient(config)
    started = time.monotonic()
    try:
        if streamed:
            async with client.stream_chat("hi") as stream:
                async for delta in stream:
                    outcome.content += delta.content or ""
                assert stream.response.content == outcome.content
        else:
            outcome.content = (await client.chat("hi")).content or ""
    except Exception as error:
        outcome.error = error
    outcome.seconds = time.monotonic() - started
    await asyncio.sleep(0)
    _check_nothing_in_flight(client)
    most = 1 if fault.kept else 0
    until = time.monotonic() + 5
    while server.client_sockets() > most:
        await asyncio.sleep(0.02)
        assert time.monotonic() < until, "the connection is neither closed nor in order"
    await client.aclose()
    while left := asyncio.all_tasks() - before:
        await asyncio.sleep(0.02)
        assert time.monotonic() < until, f"tasks are left: {left}"
    return outcome


def _sync_call(server: FaultServer, fault: Fault, config: ClientConfig, streamed: bool) -> Outcome:
    outcome = Outcome()
    before = set(threading.enumerate())
    client = VLLMClient(config)
    started = time.monotonic()
    try:
        if streamed:
            with client.stream_chat("hi") as stream:
                for delta in stream:
                    outcome.content += delta.content or ""
                assert stream.response.content == outcome.content
        else:
            outcome.content = client.chat("hi").content or ""
    except Exception as error:
        outcome.error = error
    outcome.seconds = time.monotonic() - started
    _check_nothing_in_flight(client._client)
    most = 1 if fault.kept else 0
    assert eventually(lambda: server.client_sockets() <= most), "the connection is neither closed nor in order"
    client.close()

    def clients_threads() -> set[threading.Thread]:
        return {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("vllm-client")}

    assert eventually(lambda: not clients_threads()), "a thread is left"
    return outcome


def _check_nothing_in_flight(client: AsyncVLLMClient) -> None:
    assert [endpoint.in_flight for endpoint in client._executor.pool.endpoints] == [0]


def check(fault: Fault, *, is_async: bool, streamed: bool) -> None:
    """Run a fault once and compare its outcome with the expected one."""
    expected = fault.stream if streamed else fault.plain
    with fault_server(fault.behaviour) as server:
        outcome = run(server, fault, is_async=is_async, streamed=streamed)
        assert outcome.seconds < (fault.timeouts.whole or 0) + MARGIN_SECONDS
        if isinstance(expected, str):
            if outcome.error is not None:
                raise outcome.error
            assert outcome.content == expected
            return
        assert expected is not None
        assert type(outcome.error) in (expected if isinstance(expected, tuple) else (expected,)), repr(outcome.error)
        assert str(outcome.error).replace("\n", "").isprintable(), repr(str(outcome.error))
        assert "secret" not in str(outcome.error)
        if fault.partial is not None:
            assert outcome.content == (fault.partial if streamed else "")
        if fault.check is not None:
            fault.check(outcome.error)
