"""A run from synchronous code: its order, its bounds, and that nothing is left of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.client.batch.fake_engine import FakeEngineServer
from tests.unit.client.batch.in_thread import tasks_of, wait_for
from vllm_operator.client.batch import (
    BatchFileError,
    run_batch_threaded,
    stream_batch_threaded,
)
from vllm_operator.client.batch.results_file import ResultsFile
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import ClientClosed
from vllm_operator.client.responses import CompletionResponse
from vllm_operator.client.sync_client import VLLMClient


def test_results_come_in_order_when_asked(sync_client: VLLMClient) -> None:
    positions = [r.position for r in stream_batch_threaded(sync_client, (str(n) for n in range(300)), 9, ordered=True)]

    assert positions == list(range(300))


def test_input_is_read_in_the_callers_thread_as_results_are_taken(sync_client: VLLMClient) -> None:
    threads = set()
    given = 0

    def source() -> Iterator[str]:
        nonlocal given
        while True:
            threads.add(threading.current_thread())
            given += 1
            yield "q"

    with closing(stream_batch_threaded(sync_client, source(), 4)) as results:
        for result in results:
            if result.position >= 300:
                break

    assert threads == {threading.current_thread()}
    assert 300 < given < 500
    assert tasks_of(sync_client) == []


def test_error_of_the_input_comes_after_the_results_before_it(sync_client: VLLMClient) -> None:
    def source() -> Iterator[str]:
        yield from ("a", "b")
        raise OSError("the disk is gone")

    seen = []

    def take() -> None:
        for result in stream_batch_threaded(sync_client, source()):
            seen.append(result.ok)  # noqa: PERF401  What was seen before the error counts.

    with pytest.raises(OSError, match="the disk is gone"):
        take()

    assert seen == [True, True]


def test_leaving_early_cancels_the_requests(threaded_engine: FakeEngineServer, sync_client: VLLMClient) -> None:
    threaded_engine.seconds = 3600.0
    errors: list[BaseException] = []

    def interrupted() -> Iterator[str]:
        yield from ["q"] * 5
        wait_for(threaded_engine, 5)
        raise KeyboardInterrupt

    try:
        run_batch_threaded(sync_client, interrupted(), 10)
    except KeyboardInterrupt as error:
        errors.append(error)

    assert len(errors) == 1
    assert tasks_of(sync_client) == []
    wait_for(threaded_engine, 0)


def test_client_that_is_closed_by_another_thread_ends_the_batch(threaded_engine: FakeEngineServer) -> None:
    threaded_engine.seconds = 3600.0
    client = VLLMClient(ClientConfig(base_url=threaded_engine.url, model="tiny"))

    def close() -> None:
        wait_for(threaded_engine, 3)
        client.close()

    with ThreadPoolExecutor() as pool:
        closing_client = pool.submit(close)
        try:
            outcomes = run_batch_threaded(client, ["a", "b", "c"], retry_for=0)
        except ClientClosed:
            outcomes = []
        closing_client.result()

    assert not any(isinstance(outcome, CompletionResponse) for outcome in outcomes)


def test_run_ends_when_the_results_file_cannot_be_written(
    threaded_engine: FakeEngineServer, sync_client: VLLMClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise BatchFileError("no space left")

    monkeypatch.setattr(ResultsFile, "append", full_disk)

    with pytest.raises(BatchFileError, match="no space left"):
        run_batch_threaded(sync_client, [f"q{n}" for n in range(500)], 4, results_file=tmp_path / "out.jsonl")

    assert sum(threaded_engine.asked.values()) < 50
    assert tasks_of(sync_client) == []
