"""The live load of the replicas, read from vLLM's /metrics through the API server's proxy to each pod."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.gathered import engine_port, engine_scheme, is_ready
from vllm_operator.cli.servers import name_of, namespace_of
from vllm_operator.kube.kinds import POD

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

LARGEST_METRICS = 4 * 1024 * 1024
"""Bytes of /metrics that are read. vLLM 0.32 answers with 50 KiB (tests/data/vllm-0.32-metrics.txt)."""

MOST_LINES = 4096
"""Series of the wanted families that are read: one for each engine and model."""

LONGEST_LINE = 4096
"""Longest line that is read, in characters. The longest of vLLM 0.32 has 1,063."""

PARALLEL = 8
"""Pods that are read at once."""

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV_CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""Names since vLLM 0.9.2, and before (`vllm/metric_series.py`)."""

GENERATED, PROMPTED = "vllm:generation_tokens_total", "vllm:prompt_tokens_total"
FAMILIES = (RUNNING, WAITING, *KV_CACHE, GENERATED, PROMPTED)


@dataclass(frozen=True)
class ReplicaLoad:
    """The load of one replica; None for what its /metrics does not show.

    Attributes:
        running: requests that run.
        waiting: requests that wait.
        kv_cache: used fraction of the KV cache, 0 to 1.
        generated: tokens that were generated since the start.
        prompted: tokens of prompts that were read since the start.
        problem: why nothing could be read; empty if it could.
    """

    running: int | None = None
    waiting: int | None = None
    kv_cache: float | None = None
    generated: float | None = None
    prompted: float | None = None
    problem: str = ""


def read_loads(cluster: Cluster, pods: Sequence[Mapping[str, Any]]) -> dict[str, ReplicaLoad]:
    """Return pod -> its load, for the pods that are ready. A missing right is reported once for each pod."""
    ready = [pod for pod in pods if is_ready(pod)]
    if not ready:
        return {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        return dict(zip(map(name_of, ready), pool.map(lambda pod: _read(cluster, pod), ready), strict=True))


def metrics_path(pod: Mapping[str, Any]) -> str:
    """Return the path of a pod's /metrics through the API server's proxy."""
    scheme = "https:" if engine_scheme(pod) == "https" else ""
    # The colons belong to the syntax of the proxy, so the name is not quoted; the API server allows no other sign.
    base = POD.path(namespace_of(pod))
    return f"{base}/{scheme}{name_of(pod)}:{engine_port(pod)}/proxy/metrics"


def _read(cluster: Cluster, pod: Mapping[str, Any]) -> ReplicaLoad:
    try:
        body = cluster.read(metrics_path(pod), limit=LARGEST_METRICS)
    except CallError as error:
        problem = "no right to get pods/proxy" if error.is_forbidden else error.detail or error.message
        return ReplicaLoad(problem=problem)
    return parse_load(body.decode("utf-8", "replace"))


def parse_load(text: str) -> ReplicaLoad:
    """Return the load that the text of /metrics shows. Several engines (data parallelism) are added up.

    The KV cache is that of the fullest engine.
    """
    values = _series(text)
    caches = [value for name in KV_CACHE for value in values.get(name, ())]
    return ReplicaLoad(
        running=_count(values.get(RUNNING)),
        waiting=_count(values.get(WAITING)),
        kv_cache=max(caches) if caches and 0 <= max(caches) <= 1 else None,
        generated=_sum(values.get(GENERATED)),
        prompted=_sum(values.get(PROMPTED)),
    )


def _series(text: str) -> dict[str, list[float]]:
    """Return family -> values of its series. A line that is no number of 0 or more is left out."""
    found: dict[str, list[float]] = {}
    lines = (line for line in text.splitlines() if line.startswith(FAMILIES) and len(line) <= LONGEST_LINE)
    for _, line in zip(range(MOST_LINES), lines, strict=False):
        name = line.partition("{")[0].partition(" ")[0]
        # A label may hold spaces and braces, so the value is what follows the last brace.
        value = _number(line.rpartition("}")[2].split()[:1] if "{" in line else line.split()[1:2])
        if name in FAMILIES and value is not None:
            found.setdefault(name, []).append(value)
    return found


def _number(words: Sequence[str]) -> float | None:
    try:
        value = float(words[0]) if words else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _sum(values: Iterable[float] | None) -> float | None:
    return None if values is None else sum(values)


def _count(values: Iterable[float] | None) -> int | None:
    total = _sum(values)
    return None if total is None else int(total)
