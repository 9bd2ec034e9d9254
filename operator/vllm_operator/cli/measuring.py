"""Run a measurement, show how far it is, and write the files of its report."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vllm_operator.cli import console
from vllm_operator.cli.exits import FAILED, CliError
from vllm_operator.cli.sanitize import clean

if TYPE_CHECKING:
    from vllm_operator.benchmark.generator import Workload
    from vllm_operator.benchmark.prompts import Prompts
    from vllm_operator.benchmark.records import MeasuredRequest
    from vllm_operator.benchmark.report import Report
    from vllm_operator.benchmark.shapes import Stage
    from vllm_operator.cli.measured_server import MeasuredServer
    from vllm_operator.client import AsyncVLLMClient

FORMATS = ("html", "png", "json", "csv")

REFRESH_SECONDS = 0.5
"""Seconds between two updates of the progress on a terminal."""

INTERRUPTED = "ctrl-C ended the measurement early: its last load is incomplete"


@dataclass(frozen=True)
class BenchRequests:
    """The requests of a measurement, for the client.

    Attributes:
        prompts: source of the prompts.
        timeout: longest time for an answer, in seconds.
        model: served model; None for the first one that the server lists.
    """

    prompts: Prompts
    timeout: float
    model: str | None


def open_client(url: str, key: str, timeout: float, model: str | None) -> AsyncVLLMClient:
    """Return a client without retries, which would hide errors, and without a circuit breaker."""
    from pydantic import SecretStr

    from vllm_operator.client import AsyncVLLMClient, ClientConfig, RetryPolicy, Timeouts
    from vllm_operator.client.config import CircuitBreakerConfig

    waits = Timeouts(first_token=timeout, between_tokens=timeout, whole=timeout)
    config = ClientConfig(
        base_url=url,
        api_key=SecretStr(key),
        timeouts=waits,
        retries=RetryPolicy(max_attempts=1),
        circuit_breaker=CircuitBreakerConfig(enabled=False),
    )
    return AsyncVLLMClient(config, model=model)


@dataclass
class Progress:
    """How far a measurement is: a line for each load, on a terminal with its seconds and requests.

    Attributes:
        workload: the loads.
        show: shows the newest text.
    """

    workload: Workload
    show: Callable[[str], None]
    _stage: int = 0
    _text: str = ""
    _begun: float = 0.0
    _ended: int = 0
    _failed: int = 0
    _shown: float = field(default=float("-inf"))

    def began(self, stage: Stage) -> None:
        """Show the stage that begins."""
        self._stage += 1
        self._ended = self._failed = 0
        self._begun = time.monotonic()
        count = len(self.workload.stages)
        self._text = f"load {self._stage} of {count}: {stage.name}, {self.workload.seconds:g} s"
        self.show(self._text)

    def done(self, request: MeasuredRequest) -> None:
        """Count a request, and show the numbers on a terminal."""
        self._ended += 1
        self._failed += 1 if request.error else 0
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown >= REFRESH_SECONDS:
            self._shown = now
            failed = f", {self._failed} failed" if self._failed else ""
            self.show(f"{self._text}: {now - self._begun:.0f} s, {self._ended} requests{failed}")


@contextlib.contextmanager
def progress(workload: Workload, name: str) -> Iterator[Progress]:
    """Yield the progress of a measurement, shown on standard error."""
    with console.waiting(f"measuring {name}") as show:
        yield Progress(workload, show)


def measure(place: MeasuredServer, workload: Workload, requests: BenchRequests) -> Report:
    """Run the load of the built-in generator, and return the report. Ctrl-C ends it early, and keeps what there is.

    Raises:
        CliError: the server does not answer before the load begins.
    """
    with progress(workload, place.name) as shown:
        return asyncio.run(_measure(place, workload, requests, shown))


async def _measure(place: MeasuredServer, workload: Workload, requests: BenchRequests, shown: Progress) -> Report:
    from vllm_operator.benchmark.clients import Clients
    from vllm_operator.benchmark.generator import Generator
    from vllm_operator.benchmark.report import Report
    from vllm_operator.benchmark.sampling import Sampler

    model, version = await _served(place, requests)
    notes: list[str] = []

    async with Clients(place.urls, lambda url: open_client(url, place.key, requests.timeout, model)) as clients:
        begin = time.monotonic()

        def clock() -> float:
            return time.monotonic() - begin

        generator = Generator(clients, requests.prompts, clock, shown.began, shown.done)
        with Sampler(place.read, clock) as sampler:
            try:
                await generator.run(workload)
            except asyncio.CancelledError:
                # Ctrl-C: what was measured so far is still good.
                notes.append(INTERRUPTED)
    about = {"server": place.name, "model": model, "version": version, "generator": "built-in"}
    if notes:
        about["interrupted"] = "true"
    return Report(about, generator.requests, sampler.samples, (*place.notes(), *generator.notes(), *notes))


async def _served(place: MeasuredServer, requests: BenchRequests) -> tuple[str, str]:
    """Return the model to ask for, and the version of vLLM.

    Raises:
        CliError: the server does not answer.
    """
    from vllm_operator.client import VLLMClientError

    url = next(iter(place.urls()))
    async with open_client(url, place.key, requests.timeout, requests.model) as client:
        try:
            models, version = await client.models(), await client.version()
        except VLLMClientError as error:
            text = clean(str(error).replace(url, "vLLM") if url != place.name else error, 600)
            raise CliError(f"{place.name} does not answer: {text}", FAILED) from error
    return requests.model or (models[0].id if models else "unknown"), version


def write_report(report: Report, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the files of a report; return their paths.

    Raises:
        CliError: a file cannot be written, or a chart needs a library that is missing.
    """
    from vllm_operator.benchmark import page, pictures
    from vllm_operator.benchmark import report as reports

    try:
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[str, bytes] = {}
        if "json" in formats:
            files["report.json"] = reports.as_json(report).encode()
        if "csv" in formats:
            files["requests.csv"] = reports.requests_csv(report).encode()
            files["samples.csv"] = reports.samples_csv(report).encode()
        if "html" in formats:
            files["report.html"] = page.html(report).encode()
        picture = pictures.whole(report) if "png" in formats else None
        if picture is not None:
            files["report.png"] = pictures.png(picture)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return [folder / name for name in files]
    except ImportError as error:
        raise CliError("HTML and PNG need altair and vl-convert: pip install 'vllm-operator[charts]'") from error
    except OSError as error:
        raise CliError(f"{folder}: {error.strerror}: choose another --output-dir", FAILED) from error


def check_formats(formats: Sequence[str]) -> None:
    """Check before a measurement that its report can be written.

    Raises:
        CliError: a chart needs a library that is missing.
    """
    if {"html", "png"} & set(formats):
        try:
            import altair  # noqa: F401  # it is only looked for
            import vl_convert  # noqa: F401  # the same
        except ImportError as error:
            raise CliError(
                "HTML and PNG need altair and vl-convert: pip install 'vllm-operator[charts]', or choose "
                "--format json --format csv"
            ) from error
