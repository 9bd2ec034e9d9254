"""Measure a server: where it is reached, what is sampled while the load runs, and the files of the report."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_operator.benchmark.records import Sample
from vllm_operator.cli.exits import FAILED, CliError
from vllm_operator.cli.sanitize import clean
from vllm_operator.kube.quantity import parse_quantity

if TYPE_CHECKING:
    from vllm_operator.benchmark.generator import Workload
    from vllm_operator.benchmark.report import Report
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.client import AsyncVLLMClient

MOST_TUNNELS = 32
"""Replicas that tunnels are opened to."""

METRICS_SECONDS = 5.0
"""Seconds to read /metrics of a URL."""

LARGEST_METRICS = 4 * 1024 * 1024
FORMATS = ("html", "png", "json", "csv")


@dataclass(frozen=True)
class MeasuredServer:
    """A server that can be measured.

    Attributes:
        name: name for the report.
        urls: base URLs, one for each replica that is reached by itself.
        key: API key; empty for none.
        read: reads one sample of the server.
        notes: what limits the measurement.
    """

    name: str
    urls: tuple[str, ...]
    key: str
    read: Callable[[], Sample]
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def by_url(url: str) -> Iterator[MeasuredServer]:
    """Yield a server at a URL; its API key comes from VLLM_API_KEY."""
    from vllm_operator.client.config import normalized_base_url

    try:
        base = normalized_base_url(url)
    except ValueError as error:
        raise CliError(f"--url: {clean(error, 300)}", 2) from error
    note = "replicas, autoscaler and phases are unknown: a URL shows only the engine that answers /metrics"
    yield MeasuredServer(base, (base,), os.environ.get("VLLM_API_KEY", ""), lambda: _read_url(base), (note,))


def _read_url(base: str) -> Sample:
    from vllm_operator.client.engine_load import parse_engine_load

    try:
        with urllib.request.urlopen(f"{base}/metrics", timeout=METRICS_SECONDS) as answer:
            load = parse_engine_load(answer.read(LARGEST_METRICS))
    except (OSError, ValueError):
        return Sample(0.0)
    return Sample(0.0, running=load.running, waiting=load.waiting) if load else Sample(0.0)


@contextlib.contextmanager
def in_cluster(api: Cluster, name: str) -> Iterator[MeasuredServer]:
    """Yield a server of the cluster, through a tunnel to each of its replicas that is ready.

    Raises:
        CliError: there is no such server, no replica that serves, or no way to it.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.gathered import gather, is_ready
    from vllm_operator.cli.servers import find_server, name_of
    from vllm_operator.cli.talk import api_key, serving_pod
    from vllm_operator.cli.tunnel import PodTunnel

    with console.progress(f"connecting to {name}"):
        server = find_server(api, name)
        state = gather(api, server)
        serving_pod(state, None)
        key = api_key(api, server)
    pods = [pod for pod in state.pods if is_ready(pod)][:MOST_TUNNELS]
    with contextlib.ExitStack() as stack:
        urls = tuple(stack.enter_context(PodTunnel(api, pod)).url for pod in pods)
        notes = [f"the load went through a port-forward to each of {len(urls)} replicas, which adds to each time"]
        notes.append(
            "a replica that became ready later got no load: use --url with the address of the Service for that"
        )
        yield MeasuredServer(
            f"{api.namespace}/{name_of(server)}", urls, key, lambda: read_cluster(api, name), tuple(notes)
        )


def read_cluster(api: Cluster, name: str) -> Sample:
    """Return a sample of a server of the cluster; what cannot be read is None."""
    from vllm_operator.cli.gathered import gather, is_ready
    from vllm_operator.cli.load import read_loads
    from vllm_operator.cli.servers import field, find_server

    try:
        state = gather(api, find_server(api, name))
        loads = read_loads(api, state.pods)
    except CliError:
        return Sample(0.0)
    scaler = state.children.get("HorizontalPodAutoscaler")
    average, target = _running_metric(scaler) if scaler else (None, None)
    wanted = field(scaler, "status", "desiredReplicas") if scaler else None
    phases = Counter(clean(entry.get("phase"), 40) for entry in state.replica_statuses.values())
    return Sample(
        seconds=0.0,
        running=_sum(load.running for load in loads.values()),
        waiting=_sum(load.waiting for load in loads.values()),
        replicas=sum(1 for pod in state.pods if is_ready(pod)),
        wanted=wanted if isinstance(wanted, int) else None,
        average=average,
        target=target,
        phases=dict(phases),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _running_metric(scaler: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the average and the target of running requests in a HorizontalPodAutoscaler."""
    from vllm_operator.cli.servers import field, items
    from vllm_operator.desired.autoscaler import RUNNING_METRIC

    def number(entries: Sequence[Mapping[str, Any]], *path: str) -> float | None:
        for entry in entries:
            if field(entry, "pods", "metric", "name") == RUNNING_METRIC:
                amount = parse_quantity(field(entry, "pods", *path))
                return float(amount) if amount is not None else None
        return None

    current = number(items(scaler, "status", "currentMetrics"), "current", "averageValue")
    return current, number(items(scaler, "spec", "metrics"), "target", "averageValue")


def client_of(place: MeasuredServer, timeout: float, model: str | None) -> AsyncVLLMClient:
    """Return a client without retries, which would hide errors, and without a circuit breaker."""
    from pydantic import SecretStr

    from vllm_operator.client import AsyncVLLMClient, ClientConfig, RetryPolicy, Timeouts
    from vllm_operator.client.config import CircuitBreakerConfig

    waits = Timeouts(first_token=timeout, between_tokens=timeout, whole=timeout)
    config = ClientConfig(
        base_url=place.urls,
        api_key=SecretStr(place.key),
        timeouts=waits,
        retries=RetryPolicy(max_attempts=1),
        circuit_breaker=CircuitBreakerConfig(enabled=False),
    )
    return AsyncVLLMClient(config, model=model)


def measure(
    place: MeasuredServer, workload: Workload, timeout: float, model: str | None, words: int, shared: int
) -> Report:
    """Run the load of the built-in generator, and return the report.

    Raises:
        CliError: the server does not answer before the load begins.
    """
    from vllm_operator.benchmark.prompts import Prompts

    return asyncio.run(
        _measure(place, workload, client_of(place, timeout, model), Prompts(words, shared, workload.seed))
    )


async def _measure(place: MeasuredServer, workload: Workload, client: AsyncVLLMClient, prompts: Any) -> Report:
    from vllm_operator.benchmark.generator import Generator
    from vllm_operator.benchmark.report import Report
    from vllm_operator.benchmark.sampling import Sampler
    from vllm_operator.client import VLLMClientError

    async with client:
        try:
            models, version = await client.models(), await client.version()
        except VLLMClientError as error:
            raise CliError(f"{place.name} does not answer: {clean(error, 600)}", FAILED) from error
        begin = time.monotonic()
        generator = Generator(client, prompts, lambda: time.monotonic() - begin)
        with Sampler(place.read, lambda: time.monotonic() - begin) as sampler:
            await generator.run(workload)
    model = client.config.model or (models[0].id if models else "unknown")
    about = {"server": place.name, "model": model, "version": version, "generator": "built-in"}
    return Report(about, generator.requests, sampler.samples, place.notes)


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
