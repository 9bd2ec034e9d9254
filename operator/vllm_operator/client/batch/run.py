"""One run of a batch, as far as asyncio and threads share it: plan a request, send it, record its outcome."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.adaptive import AdaptiveConcurrency, ConcurrencyController
from vllm_operator.client.batch.errors import InvalidBatchRequest
from vllm_operator.client.batch.meter import LoadMeter
from vllm_operator.client.batch.patience import Patience
from vllm_operator.client.batch.progress import BatchProgress, NoProgress
from vllm_operator.client.batch.records import fingerprint
from vllm_operator.client.batch.requests import BatchRequest, as_request
from vllm_operator.client.batch.results import (
    BatchAnswer,
    BatchResult,
    answer_record,
    failure_record,
    operation_of,
    outcome_of,
    tokens_of,
)
from vllm_operator.client.batch.results_file import ResultsFile
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import InvalidResponse, VLLMClientError
from vllm_operator.client.executor import Call

if TYPE_CHECKING:
    from rich.progress import Progress

DEFAULT_CONCURRENCY = 64
"""Requests in flight when the caller names no number: a quarter of what vLLM batches by default (`max_num_seqs`)."""
MAX_CONCURRENCY = 100_000
DEFAULT_RETRY_FOR = 300.0
"""Seconds: enough for a rolling update to bring up the next replica, and for an overload to end."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch runs."""

    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY
    results_file: Path | str | None = None
    retry_for: float = DEFAULT_RETRY_FOR
    progress: bool | Progress = False
    ordered: bool = False
    total: int | None = None
    """Number of requests, for the progress bar; None when it is not known."""

    def __post_init__(self) -> None:
        """Check the values."""
        limit = self.max_concurrency
        if not isinstance(limit, AdaptiveConcurrency) and (
            isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_CONCURRENCY
        ):
            raise ValueError(
                f"max_concurrency: {limit!r} is no number from 1 to {MAX_CONCURRENCY:,}, and no AdaptiveConcurrency"
            )
        if not 0 <= self.retry_for < float("inf"):
            raise ValueError(f"retry_for: {self.retry_for!r} is no number of seconds of at least 0")


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """A request that has to be sent."""

    position: int
    request: BatchRequest
    key: str
    """Its name in the results file."""
    fingerprint: bytes


class BatchRun:
    """One run. Its methods may be called from several threads."""

    def __init__(self, config: ClientConfig, options: BatchOptions) -> None:
        """Prepare a run; nothing is opened yet."""
        self.options = options
        self.meter = LoadMeter()
        self.controller: ConcurrencyController | None = None
        if isinstance(options.max_concurrency, AdaptiveConcurrency):
            self.controller = ConcurrencyController(options.max_concurrency)
        self._config = config
        self._stack = ExitStack()
        self._file: ResultsFile | None = None
        self.progress: BatchProgress | NoProgress = NoProgress()

    def __enter__(self) -> Self:
        """Open the results file and show the progress bar."""
        with ExitStack() as stack:
            if self.options.results_file is not None:
                self._file = stack.enter_context(ResultsFile(self.options.results_file))
            if self.options.progress:
                bar = None if self.options.progress is True else self.options.progress
                self.progress = stack.enter_context(BatchProgress(self.options.total, bar))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the results file and end the progress bar."""
        self._stack.close()

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        chosen = self.options.max_concurrency
        limit = chosen if isinstance(chosen, int) else chosen.start
        if self.controller is not None:
            limit = self.controller.limit
        # More requests would wait for a connection, and their timeouts run.
        return min(limit, self._config.limits.max_connections)

    def finish(self) -> None:
        """Complete the results file after the last request."""
        if self._file is not None:
            self._file.finish()

    def plan(self, position: int, item: object) -> PlannedRequest | BatchResult:
        """Return the request to send, or its result when nothing has to be sent."""
        try:
            request = as_request(item, self._config)
            digest = fingerprint(request.url, dict(request.body))
        except (TypeError, VLLMClientError) as error:
            return BatchResult(position, getattr(item, "custom_id", None), _as_invalid(position, error))
        if self._file is None:
            return PlannedRequest(position, request, request.custom_id or "", digest)
        return self._resume(position, request, digest, self._file)

    def _resume(
        self, position: int, request: BatchRequest, digest: bytes, file: ResultsFile
    ) -> PlannedRequest | BatchResult:
        """Return the result of an earlier run, or the request."""
        key = request.custom_id
        if key is None:
            # Equal requests without a name are told apart by counting them.
            key = f"request-{digest.hex()}-{file.count_repeat(digest)}"
        other = file.claim(key, position)
        if other is not None:
            error = InvalidBatchRequest(
                f"request {position}: custom_id {key!r} is also that of request {other}: give each its own"
            )
            return BatchResult(position, request.custom_id, error)
        record = file.find(key, digest)
        if record is None:
            return PlannedRequest(position, request, key, digest)
        return BatchResult(position, request.custom_id, outcome_of(record, request.url), resumed=True)

    async def send(self, client: AsyncVLLMClient, planned: PlannedRequest) -> BatchResult:
        """Send a request until it has an outcome, and record the outcome.

        Raises:
            BatchFileError: the outcome could not be recorded, so the run has to end.
        """
        try:
            answer = await self._answer(client, planned.request)
        except Exception as error:
            if self._file is not None:
                self._file.append(failure_record(planned.key, planned.fingerprint, error))
            return BatchResult(planned.position, planned.request.custom_id, error)
        if self._file is not None:
            try:
                self._file.append(answer_record(planned.key, planned.fingerprint, answer))
            except TypeError as error:
                # JSON may be read with more levels than it can be written with.
                refused = InvalidResponse(f"the answer cannot be written to the results file: {error}")
                self._file.append(failure_record(planned.key, planned.fingerprint, refused))
                return BatchResult(planned.position, planned.request.custom_id, refused)
        self.meter.answered(tokens_of(answer.response))
        return BatchResult(planned.position, planned.request.custom_id, answer.response)

    async def _answer(self, client: AsyncVLLMClient, request: BatchRequest) -> BatchAnswer:
        """Send a request, again and again while its errors are of a kind that passes."""
        patience = Patience(self.options.retry_for)
        loop = asyncio.get_running_loop()
        while True:
            try:
                return await send_once(client, request)
            except VLLMClientError as error:
                self.meter.failed(error)
                delay = patience.delay(error, loop.time())
                if delay is None:
                    raise
            await asyncio.sleep(delay)


async def send_once(client: AsyncVLLMClient, request: BatchRequest) -> BatchAnswer:
    """Return the answer to a request, with its JSON."""
    operation, parse = operation_of(request.url)

    def parse_both(body: dict[str, Any], call: Call) -> BatchAnswer:
        return BatchAnswer(body, parse(body, call))

    body = dict(request.body)
    return await client._post(operation, request.url, body, {"model": body.get("model")}, parse_both)


def _as_invalid(position: int, error: Exception) -> Exception:
    """Return the error of a request that cannot be sent, with the place of the request."""
    return InvalidBatchRequest(f"request {position}: {error}")
