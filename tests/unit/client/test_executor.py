from __future__ import annotations

import asyncio

import pytest

from vllm_operator.client import (
    BreakerState,
    CircuitOpen,
    ClientConfig,
    Observer,
    RequestInfo,
    RequestOutcome,
    RequestTimeout,
    RetryPolicy,
    ServerFailed,
    Timeouts,
    VLLMClientError,
)
from vllm_operator.client.endpoints import EndpointLease
from vllm_operator.client.executor import Executor
from vllm_operator.client.hooks import Observers


class Recorder(Observer):
    def __init__(self) -> None:
        self.outcomes: list[RequestOutcome] = []
        self.retries: list[tuple[str, int]] = []

    def request_retried(self, request: RequestInfo, error: VLLMClientError, attempt: int, delay: float) -> None:
        self.retries.append((str(error), attempt))

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        self.outcomes.append(outcome)


def executor(*observers: Observer, **changes: object) -> Executor:
    values: dict[str, object] = {"base_url": ("http://a", "http://b"), "retries": RetryPolicy(base_delay=0)}
    return Executor(ClientConfig(**(values | changes)), Observers(observers))  # type: ignore[arg-type]


async def test_retry_goes_to_the_other_endpoint() -> None:
    recorder = Recorder()
    runs = executor(recorder)
    urls: list[tuple[str, bool]] = []

    async def send(lease: EndpointLease, fresh: bool) -> str:
        urls.append((lease.endpoint.url, fresh))
        if len(urls) < 3:
            raise ServerFailed(f"draining {len(urls)}")
        return "answer"

    call = runs.start("chat", "m", None)

    assert await runs.run_to_end(call, send, lambda _: None) == "answer"
    assert {urls[0], urls[1]} == {("http://a", False), ("http://b", False)}
    assert urls[2][1], "an endpoint that was tried gets a new connection"
    assert recorder.retries == [("draining 1", 1), ("draining 2", 2)]
    assert [(outcome.status, outcome.attempts) for outcome in recorder.outcomes] == [("ok", 3)]
    assert [endpoint.in_flight for endpoint in runs.pool.endpoints] == [0, 0]


async def test_deadline_ends_the_attempt_and_counts_against_the_endpoint() -> None:
    recorder = Recorder()
    runs = executor(recorder, base_url="http://a", timeouts=Timeouts(whole=0.01))

    async def send(lease: EndpointLease, fresh: bool) -> str:
        await asyncio.sleep(60)
        return "never"

    for _ in range(5):
        call = runs.start("chat", "m", None)
        with pytest.raises(RequestTimeout, match="whole"):
            await runs.run_to_end(call, send, lambda _: None)

    assert {outcome.status for outcome in recorder.outcomes} == {"error"}
    with pytest.raises(CircuitOpen):
        await runs.run(runs.start("chat", "m", None), send)


async def test_impatient_callers_do_not_open_the_breaker() -> None:
    runs = executor(base_url="http://a")

    async def send(lease: EndpointLease, fresh: bool) -> str:
        await asyncio.sleep(60)
        return "never"

    for _ in range(9):
        with pytest.raises(RequestTimeout):
            await runs.run(runs.start("chat", "m", 0.001), send)

    assert runs.pool.endpoints[0].breaker.state is BreakerState.CLOSED


async def test_cancelled_call_is_reported_as_such() -> None:
    recorder = Recorder()
    runs = executor(recorder)

    async def send(lease: EndpointLease, fresh: bool) -> str:
        await asyncio.sleep(60)
        return "never"

    task = asyncio.create_task(runs.run_to_end(runs.start("chat", "m", None), send, lambda _: None))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [outcome.status for outcome in recorder.outcomes] == ["cancelled"]
    assert [endpoint.in_flight for endpoint in runs.pool.endpoints] == [0, 0]


async def test_timeout_of_a_call_replaces_the_whole_one() -> None:
    runs = executor(timeouts=Timeouts(first_token=7, whole=None))

    assert runs.start("chat", "m", None).deadline is None
    assert runs.start("chat", "m", 3).timeouts == Timeouts(first_token=7, whole=3)
    assert runs.start("chat", "m", Timeouts(whole=9)).timeouts.whole == 9
