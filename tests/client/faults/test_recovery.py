"""Faults that pass, or that another endpoint does not have: retries, fail-over, Retry-After, the circuit breaker."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.client.faults.of_answers import DEAD, DRAINING, TOO_LONG, UNKNOWN_MODEL
from tests.client.faults.of_connections import reset_before_the_answer
from tests.client.faults.server import Behaviour, Connection, FaultServer, eventually, fault_server
from tests.client.faults.wire import (
    CONTENT,
    DONE,
    END,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    STREAM_HEAD,
    WORLD,
    always,
    answer,
    error_body,
    good,
    once,
    pieces,
    refusal,
    with_length,
)
from vllm_operator.client import (
    AsyncVLLMClient,
    CircuitBreakerConfig,
    CircuitOpen,
    ClientConfig,
    HealthCheckConfig,
    RateLimitExceeded,
    RetryPolicy,
    ServerOverloaded,
    StreamInterrupted,
    Timeouts,
    VLLMClient,
    VLLMClientError,
)

QUICK = RetryPolicy(max_attempts=5, base_delay=0.01, max_delay=0.05)
OVERLOADED = with_length(503, error_body(503, "busy", "Service Unavailable"))
BROKEN_STREAM = (STREAM_HEAD, *pieces(ROLE, HELLO, WORLD))


def config(*servers: FaultServer, **changes: Any) -> ClientConfig:
    values: dict[str, Any] = {"model": "tiny", "retries": QUICK, "timeouts": Timeouts(whole=20), "api_key": ""}
    values["health_checks"] = HealthCheckConfig(enabled=False)
    urls = tuple(server.url for server in servers)
    return ClientConfig(base_url=urls if len(urls) > 1 else urls[0], **(values | changes))


def first(*behaviours: Behaviour) -> Behaviour:
    """Give each connection its own behaviour; the last one holds for all that follow."""

    def behave(connection: Connection) -> None:
        behaviours[min(connection.number, len(behaviours)) - 1](connection)

    return behave


def call(settings: ClientConfig, kind: str) -> str:
    """Make one call in one of four ways, and return its text."""
    if kind.startswith("sync"):
        with VLLMClient(settings) as client:
            if kind.endswith("stream"):
                return client.stream_chat("hi").collect().content or ""
            return client.chat("hi").content or ""

    async def asynchronous() -> str:
        async with AsyncVLLMClient(settings) as client:
            if kind.endswith("stream"):
                return (await client.stream_chat("hi").collect()).content or ""
            return (await client.chat("hi")).content or ""

    return asyncio.run(asynchronous())


four_ways = pytest.mark.parametrize("kind", ["sync", "sync stream", "async", "async stream"])


@four_ways
def test_server_that_dies_and_comes_back_answers_in_the_end(kind: str) -> None:
    with fault_server(good) as server:
        server.stop()
        back = threading.Timer(0.3, server.start)
        back.start()
        retries = RetryPolicy(max_attempts=100, base_delay=0.05, max_delay=0.1)
        breaker = CircuitBreakerConfig(enabled=False)
        assert call(config(server, retries=retries, circuit_breaker=breaker), kind) == CONTENT
        back.join()


@four_ways
@pytest.mark.parametrize(
    "behaviour",
    [DRAINING, DEAD, reset_before_the_answer, always(OVERLOADED), refusal(503, "busy", "retry-after: 50")],
    ids=["draining", "dead engine", "reset", "overloaded", "Retry-After elsewhere"],
)
def test_other_endpoint_answers_at_once(kind: str, behaviour: Behaviour) -> None:
    with fault_server(behaviour) as bad, fault_server(good) as well:
        for _ in range(2):
            assert call(config(bad, well), kind) == CONTENT
        assert len(well.requests) == 2
        assert len(bad.requests) <= 2


@four_ways
def test_refused_endpoint_is_replaced_by_the_other_one(kind: str) -> None:
    with fault_server(good) as gone, fault_server(good) as well:
        gone.stop()
        assert call(config(gone, well), kind) == CONTENT


@four_ways
def test_failure_before_the_first_token_is_sent_again(kind: str) -> None:
    with fault_server(first(reset_before_the_answer, DRAINING, good)) as server:
        assert call(config(server), kind) == CONTENT
        assert len(server.requests) == 3


@four_ways
@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_is_obeyed(kind: str, status: int) -> None:
    with fault_server(first(refusal(status, "busy", "retry-after: 1", "connection: close"), good)) as server:
        started = time.monotonic()
        assert call(config(server), kind) == CONTENT
        assert time.monotonic() - started >= 1


@four_ways
def test_retry_after_that_is_too_long_is_raised_at_once(kind: str) -> None:
    with fault_server(refusal(429, "busy", "retry-after: 3600")) as server:
        with pytest.raises(RateLimitExceeded) as raised:
            call(config(server), kind)
        assert raised.value.retry_after == 3600
        assert len(server.requests) == 1


@four_ways
@pytest.mark.parametrize(
    "behaviour",
    [
        UNKNOWN_MODEL,
        refusal(400, TOO_LONG),
        always(with_length(401, b'{"error": "Unauthorized"}')),
        refusal(422, "no"),
        always(with_length(200, b"<html>", content_type="text/html")),
    ],
    ids=["unknown model", "too long", "no key", "invalid", "no vLLM"],
)
def test_error_that_stays_is_not_sent_again(kind: str, behaviour: Behaviour) -> None:
    with fault_server(behaviour) as server:
        with pytest.raises(VLLMClientError) as raised:
            call(config(server), kind)
        assert not raised.value.retryable
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["sync stream", "async stream"])
def test_stream_that_broke_after_its_first_token_is_not_sent_again(kind: str) -> None:
    with fault_server(first(lambda c: c.request() and c.send(*BROKEN_STREAM), good)) as server:
        with pytest.raises(StreamInterrupted) as raised:
            call(config(server), kind)
        assert raised.value.partial_content == CONTENT
        assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["sync stream", "async stream"])
def test_broken_stream_starts_again_when_asked_for(kind: str) -> None:
    retries = RetryPolicy(max_attempts=3, base_delay=0.01, restart_streams=True)
    with fault_server(first(lambda c: c.request() and c.send(*BROKEN_STREAM), good)) as server:
        assert call(config(server, retries=retries), kind) == CONTENT
        assert len(server.requests) == 2


def test_connection_that_was_closed_while_idle_is_not_used() -> None:
    def answers_once(connection: Connection) -> None:
        connection.request()
        connection.send(with_length(200, json.dumps(answer()).encode()))

    with (
        fault_server(answers_once) as server,
        VLLMClient(config(server, retries=RetryPolicy(max_attempts=1))) as client,
    ):
        for _ in range(3):
            assert client.chat("hi").content == CONTENT
            assert eventually(lambda: server.open == 0)


def test_answer_that_nobody_asked_for_is_given_to_no_request() -> None:
    def desynchronized(connection: Connection) -> None:
        number = 0
        while connection.request():
            number += 1
            own = with_length(200, json.dumps(answer(f"answer {connection.number}.{number}")).encode())
            stale = with_length(200, json.dumps(answer("of another request")).encode())
            connection.send(own + stale)

    with fault_server(desynchronized) as server, VLLMClient(config(server)) as client:
        for _ in range(4):
            assert "another" not in (client.chat("hi").content or "")


def test_retries_of_all_calls_share_a_budget() -> None:
    retries = RetryPolicy(max_attempts=5, base_delay=0.001, budget_burst=3, budget_ratio=0)
    breaker = CircuitBreakerConfig(enabled=False)
    with fault_server(always(OVERLOADED)) as server:
        with VLLMClient(config(server, retries=retries, circuit_breaker=breaker)) as client:
            for _ in range(10):
                with pytest.raises(ServerOverloaded):
                    client.chat("hi")
        assert len(server.requests) == 13


def test_deadline_holds_for_all_attempts_together() -> None:
    retries = RetryPolicy(max_attempts=100, base_delay=0.2, max_delay=0.2)
    with fault_server(always(OVERLOADED)) as server, VLLMClient(config(server, retries=retries)) as client:
        started = time.monotonic()
        with pytest.raises(VLLMClientError):
            client.chat("hi", timeout=0.5)
        assert time.monotonic() - started < 5


def test_breaker_opens_sends_nothing_and_closes_again() -> None:
    breaker = CircuitBreakerConfig(failure_threshold=3, recovery_timeout=0.2)
    settings: dict[str, Any] = {"retries": RetryPolicy(max_attempts=1), "circuit_breaker": breaker}
    with fault_server(always(OVERLOADED)) as server, VLLMClient(config(server, **settings)) as client:
        for _ in range(3):
            with pytest.raises(ServerOverloaded):
                client.chat("hi")
        sent = len(server.requests)
        with pytest.raises(CircuitOpen) as raised:
            client.chat("hi")
        assert raised.value.retry_after is not None
        assert len(server.requests) == sent
        server.stop()
        server.behaviour = good
        server.start()
        time.sleep(0.3)
        assert client.chat("hi").content == CONTENT


def goes_on(connection: Connection) -> None:
    """Send tokens until the client leaves."""
    connection.send(STREAM_HEAD, *pieces(ROLE))
    while not connection.server.stopping.wait(0.01):
        connection.send(*pieces(HELLO))


def leave(stream: Any) -> None:
    next(iter(stream))
    stream.close()


def forget(stream: Any) -> None:
    next(iter(stream))
    del stream
    gc.collect()


def fail_amid(stream: Any) -> None:
    try:
        with stream:
            next(iter(stream))
            raise RuntimeError
    except RuntimeError:
        pass


@pytest.mark.parametrize("end", [leave, fail_amid], ids=["closed", "exception"])
def test_stream_that_is_left_closes_its_connection(end: Callable[[Any], None]) -> None:
    with fault_server(once(goes_on)) as server, VLLMClient(config(server)) as client:
        end(client.stream_chat("hi"))
        assert eventually(lambda: server.open == 0)


def test_stream_that_is_forgotten_closes_its_connection() -> None:
    with fault_server(once(goes_on)) as server, VLLMClient(config(server)) as client:
        forget(client.stream_chat("hi"))
        gc.collect()
        assert eventually(lambda: server.open == 0)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
async def test_cancelled_task_closes_its_connection(streamed: bool) -> None:
    frozen = once(lambda c: c.send(STREAM_HEAD, *pieces(ROLE, HELLO)) if streamed else None)
    with fault_server(frozen) as server:
        async with AsyncVLLMClient(config(server)) as client:
            task = asyncio.create_task(client.stream_chat("hi").collect() if streamed else client.chat("hi"))  # type: ignore[arg-type]
            assert await asyncio.to_thread(eventually, lambda: bool(server.requests))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(eventually, lambda: server.open == 0)
            assert [endpoint.in_flight for endpoint in client._executor.pool.endpoints] == [0]


async def test_closing_the_client_ends_what_is_under_way() -> None:
    with fault_server(once(lambda c: None)) as server:
        client = AsyncVLLMClient(config(server, retries=RetryPolicy(max_attempts=1)))
        tasks = [asyncio.create_task(client.chat("hi")) for _ in range(5)]
        assert await asyncio.to_thread(eventually, lambda: len(server.requests) == 5)
        await client.aclose()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert all(isinstance(result, VLLMClientError) for result in results), results
        assert await asyncio.to_thread(eventually, lambda: server.open == 0)


async def test_many_streams_of_which_half_break_leave_nothing() -> None:
    def behave(connection: Connection) -> None:
        while connection.request():
            connection.send(STREAM_HEAD, *pieces(ROLE, HELLO, WORLD))
            if connection.number % 2:
                connection.reset()
                return
            connection.send(*pieces(FINISH, LAST, DONE), END)

    before = asyncio.all_tasks()
    with fault_server(behave) as server:
        async with AsyncVLLMClient(config(server)) as client:
            streams = [client.stream_chat("hi").collect() for _ in range(100)]
            results = await asyncio.gather(*streams, return_exceptions=True)
            broken = [result for result in results if isinstance(result, VLLMClientError)]
            assert 30 <= len(broken) <= 70
            assert all(isinstance(result, VLLMClientError) or result.content == CONTENT for result in results)  # type: ignore[union-attr]
            assert [endpoint.in_flight for endpoint in client._executor.pool.endpoints] == [0]
        assert await asyncio.to_thread(eventually, lambda: server.client_sockets() == 0)
    assert asyncio.all_tasks() == before
