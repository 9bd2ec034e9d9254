"""Batches from synchronous code: the stand-in runs in another thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers.fake_vllm_server import status
from tests.unit.client.batch.fake_engine import FakeEngineServer
from tests.unit.client.batch.in_thread import serving, tasks_of
from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch import (
    AdaptiveConcurrency,
    InvalidBatchRequest,
    run_batch_threaded,
    stream_batch_threaded,
)
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import ServerFailed
from vllm_operator.client.responses import CompletionResponse
from vllm_operator.client.sync_client import VLLMClient


def test_outcomes_come_in_the_order_of_the_requests(threaded_engine: FakeEngineServer, sync_client: VLLMClient) -> None:
    threaded_engine.seconds = 0.01
    outcomes = run_batch_threaded(sync_client, ["a", 7, *["c"] * 30], 5)  # type: ignore[list-item]

    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [CompletionResponse, InvalidBatchRequest, *[CompletionResponse] * 30]
    assert threaded_engine.most_in_flight == 5
    assert tasks_of(sync_client) == []


def test_failures_are_sent_again_until_patience_is_over(
    threaded_engine: FakeEngineServer, sync_client: VLLMClient
) -> None:
    threaded_engine.answers["/v1/chat/completions"] = [status(500), status(503)]
    assert isinstance(run_batch_threaded(sync_client, ["a"])[0], CompletionResponse)

    threaded_engine.answers["/v1/chat/completions"] = status(500)
    assert isinstance(run_batch_threaded(sync_client, ["a"], retry_for=0)[0], ServerFailed)


def test_several_threads_share_a_client(threaded_engine: FakeEngineServer, sync_client: VLLMClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        batches = [pool.submit(run_batch_threaded, sync_client, [f"{n}-{m}" for m in range(40)], 6) for n in range(8)]

    assert sum(len(batch.result()) for batch in batches) == 320
    assert set(threaded_engine.asked.values()) == {1}
    assert len(threaded_engine.asked) == 320


def test_second_run_sends_only_what_has_no_answer(
    threaded_engine: FakeEngineServer, sync_client: VLLMClient, tmp_path: Path
) -> None:
    texts = [f"q{n}" for n in range(20)]
    run_batch_threaded(sync_client, texts[:12], results_file=tmp_path / "out.jsonl")

    results = list(stream_batch_threaded(sync_client, texts, ordered=True, results_file=tmp_path / "out.jsonl"))

    assert [result.resumed for result in results] == [True] * 12 + [False] * 8
    assert set(threaded_engine.asked.values()) == {1}


def test_adaptive_concurrency_raises_the_limit() -> None:
    with serving(capacity=16, seconds=0.05) as engine:
        outcomes = run_batch_threaded(
            ClientConfig(base_url=engine.url, model="tiny"),
            (f"q{n}" for n in range(600)),
            AdaptiveConcurrency(start=2, maximum=200, window=0.2),
        )

        assert len(outcomes) == 600
        # How far it is raised depends on the speed of this machine.
        assert 2 < engine.most_in_flight <= 200


async def test_client_of_another_kind_is_refused() -> None:
    async with AsyncVLLMClient("http://localhost:1") as client:
        with pytest.raises(TypeError, match="with asyncio call run_batch"):
            run_batch_threaded(client, ["a"])  # type: ignore[arg-type]
