"""A server that is measured: how it is reached, and how it is sampled while the load runs."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_operator.benchmark.records import Sample
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.sanitize import clean
from vllm_operator.kube.quantity import parse_quantity

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object

METRICS_SECONDS = 5.0
"""Seconds to read /metrics of a URL."""

LARGEST_METRICS = 4 * 1024 * 1024
"""Bytes of /metrics that are read. vLLM 0.32 answers with 50 KiB (tests/data/vllm-0.32-metrics.txt)."""


@dataclass(frozen=True)
class MeasuredServer:
    """A server that can be measured.

    Attributes:
        name: name for the report.
        urls: returns the base URLs of the replicas that serve now.
        key: API key; empty for none.
        read: reads one sample of the server.
        whole_url: yields one URL that leads to all replicas, for programs that take one only.
        notes: returns what limits the measurement; called at its end.
    """

    name: str
    urls: Callable[[], Sequence[str]]
    key: str
    read: Callable[[], Sample]
    whole_url: Callable[[], contextlib.AbstractContextManager[str]]
    notes: Callable[[], Sequence[str]]


@contextlib.contextmanager
def by_url(url: str) -> Iterator[MeasuredServer]:
    """Yield a server at a URL; its API key comes from VLLM_API_KEY.

    Raises:
        CliError: the text is no URL.
    """
    from vllm_operator.client.config import normalized_base_url

    try:
        base = normalized_base_url(url)
    except ValueError as error:
        raise CliError(f"--url: {clean(error, 300)}", 2) from error
    note = "replicas, autoscaler and phases are unknown: a URL shows only the engine that answers /metrics"
    yield MeasuredServer(
        name=base,
        urls=lambda: (base,),
        key=os.environ.get("VLLM_API_KEY", ""),
        read=lambda: _read_url(base),
        whole_url=lambda: contextlib.nullcontext(base),
        notes=lambda: (note,),
    )


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
    from vllm_operator.cli.gathered import gather
    from vllm_operator.cli.replica_tunnels import ReplicaTunnels
    from vllm_operator.cli.servers import find_server, name_of
    from vllm_operator.cli.talk import api_key, serving_pod
    from vllm_operator.cli.tunnel import ServerTunnel

    with contextlib.ExitStack() as stack:
        with console.progress(f"connecting to {name}"):
            server = find_server(api, name)
            state = gather(api, server)
            serving_pod(state, None)
            key = api_key(api, server)
            tunnels = stack.enter_context(ReplicaTunnels(api, state.pods))
        plain = name_of(server)
        yield MeasuredServer(
            name=f"{api.namespace}/{plain}",
            urls=tunnels.urls,
            key=key,
            read=lambda: read_cluster(api, plain, tunnels.follow),
            whole_url=lambda: _opened(ServerTunnel(api, plain)),
            notes=lambda: (_tunnel_note(tunnels.opened),),
        )


@contextlib.contextmanager
def _opened(tunnel: Any) -> Iterator[str]:
    with tunnel:
        yield tunnel.url


def _tunnel_note(opened: int) -> str:
    replicas = "1 replica" if opened == 1 else f"each of {opened} replicas"
    return (
        f"the load went through a port-forward to {replicas}, which adds to each time, and takes at most 200 requests "
        "at once for each: --url in the cluster measures without it"
    )


def read_cluster(api: Cluster, name: str, follow: Callable[[Sequence[Object]], None] = lambda pods: None) -> Sample:
    """Return a sample of a server of the cluster; what cannot be read is None.

    Args:
        api: the cluster.
        name: name of the server.
        follow: called with the pods of the server.
    """
    from vllm_operator.api.names import child_name, selector_labels
    from vllm_operator.cli.gathered import MOST_PODS, is_ready
    from vllm_operator.cli.load import read_loads
    from vllm_operator.cli.servers import field, find_server, items
    from vllm_operator.kube.kinds import CHILD_KINDS, POD

    labels = ",".join(f"{key}={value}" for key, value in selector_labels(name).items())
    try:
        pods = api.list(POD, api.namespace, labels=labels, most=MOST_PODS)
        follow(pods)
        loads = read_loads(api, pods)
        server = find_server(api, name)
        scaler = (
            api.find(CHILD_KINDS["HorizontalPodAutoscaler"], child_name(name))
            if field(server, "spec", "autoscaling")
            else None
        )
    except CliError:
        return Sample(0.0)
    average, target = _running_metric(scaler) if scaler else (None, None)
    wanted = field(scaler, "status", "desiredReplicas") if scaler else None
    phases = Counter(clean(entry.get("phase"), 40) for entry in items(server, "status", "replicaStatuses"))
    return Sample(
        seconds=0.0,
        running=_sum(load.running for load in loads.values()),
        waiting=_sum(load.waiting for load in loads.values()),
        replicas=sum(1 for pod in pods if is_ready(pod)),
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
    """Return the average and the target of the requests of a replica in a HorizontalPodAutoscaler."""
    from vllm_operator.cli.servers import field, items
    from vllm_operator.desired.autoscaler import REQUESTS_METRIC, RUNNING_METRIC

    def number(entries: Sequence[Mapping[str, Any]], *path: str) -> float | None:
        for entry in entries:
            if field(entry, "pods", "metric", "name") in {REQUESTS_METRIC, RUNNING_METRIC}:
                amount = parse_quantity(field(entry, "pods", *path))
                return float(amount) if amount is not None else None
        return None

    current = number(items(scaler, "status", "currentMetrics"), "current", "averageValue")
    return current, number(items(scaler, "spec", "metrics"), "target", "averageValue")
