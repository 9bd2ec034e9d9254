"""Batches from file to file, in OpenAI's batch format: one JSON object a line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Generator
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_operator.client.async_client import AsyncVLLMClient
from vllm_operator.client.batch.adaptive import AdaptiveConcurrency
from vllm_operator.client.batch.api import stream_batch
from vllm_operator.client.batch.errors import BatchFileError, InvalidBatchRequest
from vllm_operator.client.batch.index import RequestIndex
from vllm_operator.client.batch.requests import BatchRequest, parse_input_line
from vllm_operator.client.batch.results import BatchResult
from vllm_operator.client.batch.results_file import MAX_LINE_BYTES, bounded_lines
from vllm_operator.client.batch.run import DEFAULT_CONCURRENCY, DEFAULT_RETRY_FOR
from vllm_operator.client.batch.threads_api import stream_batch_threaded
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.sync_client import VLLMClient

if TYPE_CHECKING:
    from rich.progress import Progress

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_SHOWN_PROBLEMS = 10


@dataclass(slots=True)
class BatchFileSummary:
    """The outcomes of the requests of a file, counted."""

    total: int = 0
    answered: int = 0
    failed: int = 0
    resumed: int = 0
    """Requests whose outcome an earlier run had written; they count as answered or failed, too."""

    def count(self, result: BatchResult) -> None:
        """Count a result."""
        self.total += 1
        self.answered += result.ok
        self.failed += not result.ok
        self.resumed += result.resumed


async def run_batch_file(
    client: AsyncVLLMClient | ClientConfig | str,
    input_file: Path | str,
    results_file: Path | str,
    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY,
    *,
    retry_for: float = DEFAULT_RETRY_FOR,
    progress: bool | Progress = False,
) -> BatchFileSummary:
    """Send the requests of a file, and write their outcomes to another one. Start it again to continue after a crash.

    Both files have OpenAI's batch format. Before anything is sent, all lines of the input are checked. The outcomes
    stand in the order in which they came. The other arguments are those of `run_batch`.

    Raises:
        BatchFileError: a file cannot be used, or lines of the input are no requests. The message names them.
    """
    total = await asyncio.to_thread(check_input_file, input_file, results_file)
    summary = BatchFileSummary()
    results = stream_batch(
        client,
        InputFile(input_file, total),
        max_concurrency,
        results_file=results_file,
        retry_for=retry_for,
        progress=progress,
    )
    async with aclosing(results):
        async for result in results:
            summary.count(result)
    return summary


def run_batch_file_threaded(
    client: VLLMClient | ClientConfig | str,
    input_file: Path | str,
    results_file: Path | str,
    max_concurrency: int | AdaptiveConcurrency = DEFAULT_CONCURRENCY,
    *,
    retry_for: float = DEFAULT_RETRY_FOR,
    progress: bool | Progress = False,
) -> BatchFileSummary:
    """Do the same from synchronous code.

    Raises:
        BatchFileError: a file cannot be used, or lines of the input are no requests. The message names them.
    """
    total = check_input_file(input_file, results_file)
    summary = BatchFileSummary()
    results = stream_batch_threaded(
        client,
        InputFile(input_file, total),
        max_concurrency,
        results_file=results_file,
        retry_for=retry_for,
        progress=progress,
    )
    with closing(results):
        for result in results:
            summary.count(result)
    return summary


def check_input_file(input_file: Path | str, results_file: Path | str) -> int:
    """Return the number of requests of a file, all of which are checked.

    Raises:
        BatchFileError: the file cannot be read, holds no request, or lines of it are no requests.
    """
    if os.path.realpath(input_file) == os.path.realpath(results_file):
        raise BatchFileError(f"{input_file}: it is also the results file: name another file for the results")
    problems: list[str] = []
    total = 0
    with RequestIndex() as index:
        for number, line in _lines(input_file):
            total += 1
            problem = _problem(number, line, index)
            if problem is not None:
                problems.append(f"line {number}: {problem}")
            if len(problems) >= MAX_SHOWN_PROBLEMS:
                problems.append("the lines after that are not checked")
                break
    if problems:
        raise BatchFileError(f"{input_file}: nothing was sent: " + "; ".join(problems))
    if not total:
        raise BatchFileError(f"{input_file}: it holds no request: write one JSON object a line")
    return total


class InputFile:
    """The requests of a checked file, read while they are sent."""

    def __init__(self, path: Path | str, total: int) -> None:
        """Take the number of requests that the check has found."""
        self._path = path
        self._total = total

    def __len__(self) -> int:
        """Return the number of requests."""
        return self._total

    def __iter__(self) -> Generator[BatchRequest]:
        """Yield the requests.

        Raises:
            BatchFileError: the file has changed since it was checked.
        """
        for number, line in _lines(self._path):
            try:
                yield parse_input_line(line)
            except InvalidBatchRequest as error:
                raise BatchFileError(f"{self._path}: line {number} changed during the run: {error}") from error


def _problem(number: int, line: bytes, index: RequestIndex) -> str | None:
    """Return why a line is no request of a batch, or None."""
    try:
        request = parse_input_line(line)
    except InvalidBatchRequest as error:
        return str(error)
    first = index.claim(request.custom_id or "", number)
    if first is not None:
        return f"custom_id {request.custom_id!r} is also that of line {first}: give each request its own"
    return None


def _lines(path: Path | str) -> Generator[tuple[int, bytes]]:
    """Yield the number and the bytes of each line that is not blank.

    Raises:
        BatchFileError: the file cannot be read, or a line is too long.
    """
    try:
        with open(path, "rb") as file:
            for number, (line, size) in enumerate(bounded_lines(file), 1):
                if size > MAX_LINE_BYTES:
                    raise BatchFileError(f"{path}: line {number} has more than {MAX_LINE_BYTES:,} bytes")
                text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                if text.strip():
                    yield number, text
    except OSError as error:
        raise BatchFileError(f"{path}: it cannot be read: {error.strerror}") from error
