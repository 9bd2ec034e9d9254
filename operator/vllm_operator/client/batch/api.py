"""The functions for asyncio: `run_batch` for a list of outcomes, `stream_batch` for results as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sized
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.adaptive import AdaptiveConcurrency
from vllm_operator.client.batch.asynchronous import ConcurrentBatch
from vllm_operator.client.batch.requests import BatchItem, check_input
from vllm_operator.client.batch.results import BatchResponse, BatchResult
from vllm_operator.client.batch.run import DEFAULT_CONCURRENCY, DEFAULT_RETRY_FOR, BatchOptions, BatchRun
from vllm_operator.client.config import ClientConfig

if TYPE_CHECKING:
    from rich.progress import Progress

Requests = Iterable[BatchItem] | AsyncIterable[BatchItem]


async def run_batch(
    client: AsyncVLLMClient | ClientConfig | str,
    requests: Requests,
    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY,
    *,
    results_file: Path | str | None = None,
    retry_for: float = DEFAULT_RETRY_FOR,
    progress: bool | Progress = False,
) -> list[BatchResponse | Exception]:
    """Send all requests, and return their outcomes in the order of the requests. An error is an outcome, too.

    Args:
        client: a client; or a configuration or base URL, for a client that lives as long as the batch.
        requests: texts, messages, bodies or `BatchRequest`s, from an iterable or an asynchronous one.
        max_concurrency: requests in flight, or `AdaptiveConcurrency()` to find the best number while the batch runs.
        results_file: JSONL file for the outcomes. A run that finds it sends only what has no answer there.
        retry_for: seconds after its first failure for which a request is sent again when that can help. It comes on
            top of the client's retries; 0 turns it off.
        progress: True for a progress bar on standard error, or a `rich.progress.Progress` to use.

    Raises:
        BatchFileError: the results file cannot be used.
    """
    outcomes: dict[int, BatchResponse | Exception] = {}
    results = stream_batch(
        client, requests, max_concurrency, results_file=results_file, retry_for=retry_for, progress=progress
    )
    async with aclosing(results):
        async for result in results:
            outcomes[result.position] = result.outcome
    return [outcomes.pop(position) for position in range(len(outcomes))]


async def stream_batch(
    client: AsyncVLLMClient | ClientConfig | str,
    requests: Requests,
    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY,
    *,
    ordered: bool = False,
    results_file: Path | str | None = None,
    retry_for: float = DEFAULT_RETRY_FOR,
    progress: bool | Progress = False,
) -> AsyncGenerator[BatchResult]:
    """Send all requests, and yield each result as soon as it is there, or in the order of the requests.

    The memory that it needs depends on `max_concurrency`, not on the number of requests: the input is read as results
    are taken. Leave it early within `async with contextlib.aclosing(...)`: the requests in flight are then cancelled,
    and the engine ends them.

    Args:
        client: as for `run_batch`.
        requests: as for `run_batch`.
        max_concurrency: as for `run_batch`.
        ordered: yield results in the order of the requests.
        results_file: as for `run_batch`.
        retry_for: as for `run_batch`.
        progress: as for `run_batch`.

    Raises:
        BatchFileError: the results file cannot be used.
        Exception: an error of `requests`, after the results of all requests before it.
    """
    check_input(requests)
    total = len(requests) if isinstance(requests, Sized) else None
    options = BatchOptions(max_concurrency, results_file, retry_for, progress, ordered, total)
    async with _opened(client) as opened:
        run = BatchRun(opened.config, options)
        # Reading a results file of gigabytes takes a while.
        await asyncio.to_thread(run.__enter__)
        try:
            async with aclosing(ConcurrentBatch(opened, run).results(requests)) as results:
                async for result in results:
                    yield result
            await asyncio.to_thread(run.finish)
        finally:
            run.__exit__()


@asynccontextmanager
async def _opened(client: AsyncVLLMClient | ClientConfig | str) -> AsyncGenerator[AsyncVLLMClient]:
    """Return the client, or one that is closed at the end."""
    if isinstance(client, AsyncVLLMClient):
        yield client
        return
    if not isinstance(client, ClientConfig | str):
        raise TypeError(
            f"client: a {type(client).__name__} cannot be used here: pass an AsyncVLLMClient, a ClientConfig or a base "
            "URL; in synchronous code call run_batch_threaded"
        )
    async with AsyncVLLMClient(client) as own:
        yield own
