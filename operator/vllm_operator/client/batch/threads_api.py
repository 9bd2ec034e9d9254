"""The functions for synchronous code. They do what their twins for asyncio do, with the same arguments."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sized
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_operator.client.batch.adaptive import AdaptiveConcurrency
from vllm_operator.client.batch.requests import BatchItem, check_input
from vllm_operator.client.batch.results import BatchResponse, BatchResult
from vllm_operator.client.batch.run import DEFAULT_CONCURRENCY, DEFAULT_RETRY_FOR, BatchOptions, BatchRun
from vllm_operator.client.batch.threaded import ThreadedBatch
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.sync_client import VLLMClient

if TYPE_CHECKING:
    from rich.progress import Progress


def run_batch_threaded(
    client: VLLMClient | ClientConfig | str,
    requests: Iterable[BatchItem],
    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY,
    *,
    results_file: Path | str | None = None,
    retry_for: float = DEFAULT_RETRY_FOR,
    progress: bool | Progress = False,
) -> list[BatchResponse | Exception]:
    """Send all requests, and return their outcomes in the order of the requests. An error is an outcome, too.

    The arguments are those of `run_batch`. Several threads may run a batch with the same client.

    Raises:
        BatchFileError: the results file cannot be used.
    """
    outcomes: dict[int, BatchResponse | Exception] = {}
    results = stream_batch_threaded(
        client, requests, max_concurrency, results_file=results_file, retry_for=retry_for, progress=progress
    )
    with closing(results):
        for result in results:
            outcomes[result.position] = result.outcome
    return [outcomes.pop(position) for position in range(len(outcomes))]


def stream_batch_threaded(
    client: VLLMClient | ClientConfig | str,
    requests: Iterable[BatchItem],
    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY,
    *,
    ordered: bool = False,
    results_file: Path | str | None = None,
    retry_for: float = DEFAULT_RETRY_FOR,
    progress: bool | Progress = False,
) -> Generator[BatchResult]:
    """Send all requests, and yield each result as soon as it is there, or in the order of the requests.

    The arguments are those of `stream_batch`. The caller's thread reads `requests`, one at a time, so an iterator that
    may be used in one thread only is fine. Requests are sent while the caller waits for the next result.

    Raises:
        BatchFileError: the results file cannot be used.
        Exception: an error of `requests`, after the results of all requests before it.
    """
    check_input(requests)
    total = len(requests) if isinstance(requests, Sized) else None
    options = BatchOptions(max_concurrency, results_file, retry_for, progress, ordered, total)
    with _opened(client) as opened, BatchRun(opened.config, options) as run:
        with closing(ThreadedBatch(opened, run).results(requests)) as results:
            yield from results
        run.finish()


@contextmanager
def _opened(client: VLLMClient | ClientConfig | str) -> Generator[VLLMClient]:
    """Return the client, or one that is closed at the end."""
    if isinstance(client, VLLMClient):
        yield client
        return
    if not isinstance(client, ClientConfig | str):
        raise TypeError(
            f"client: a {type(client).__name__} cannot be used here: pass a VLLMClient, a ClientConfig or a base URL; "
            "with asyncio call run_batch"
        )
    with VLLMClient(client) as own:
        yield own
