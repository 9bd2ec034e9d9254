"""Export the operator's metrics to Prometheus (docs/reference/metrics.md). No label names a server or a namespace."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, disable_created_metrics
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from vllm_operator import __version__

NO_ANSWER = "none"
"""Label `code` of a call without an answer."""

RECONCILE_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60)
WAIT_BUCKETS = (0.001, 0.01, 0.1, 0.5, 2, 10, 60, 300)
CALL_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2, 5, 20)


@dataclass(frozen=True)
class GaugeValues:
    """The values of the gauges at one scrape.

    Attributes:
        leader: true while this process may write.
        queue_depth: servers that wait to be reconciled.
        queue_age: seconds that the first of them has waited.
        running: reconciles under way.
        failing: servers whose last reconcile failed.
        replicas: replicas that are probed.
        phases: number of servers by `status.phase`.
        cached: number of objects in the caches by kind.
    """

    leader: bool = True
    queue_depth: int = 0
    queue_age: float = 0.0
    running: int = 0
    failing: int = 0
    replicas: int = 0
    phases: Mapping[str, int] = field(default_factory=dict)
    cached: Mapping[str, int] = field(default_factory=dict)


class Metrics:
    """The metrics of one operator process, in a separate registry."""

    def __init__(self) -> None:
        # `_created` would double the series of every counter, and no dashboard or alert reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("vllm_operator_build", "Version of the operator.", registry=registry).info({"version": __version__})
        self._reconciles = Counter("vllm_operator_reconciles", "Reconciles.", ["outcome"], registry=registry)
        self._reconcile_seconds = _histogram(
            registry, "vllm_operator_reconcile_duration_seconds", "Duration of a reconcile.", RECONCILE_BUCKETS
        )
        self._queue_seconds = _histogram(
            registry, "vllm_operator_queue_wait_seconds", "Wait of a server to be reconciled.", WAIT_BUCKETS
        )
        self._calls = Counter(
            "vllm_operator_api_requests",
            "Calls to the API server that were answered, or failed.",
            ["verb", "resource", "code"],
            registry=registry,
        )
        self._call_seconds = _histogram(
            registry,
            "vllm_operator_api_request_duration_seconds",
            "Time until the API server's answer begins.",
            CALL_BUCKETS,
            ("verb",),
        )
        self._watch_events = Counter(
            "vllm_operator_watch_events", "Objects received from watches and their lists.", ["kind"], registry=registry
        )
        self._probes = Counter("vllm_operator_probes", "Probes of replicas.", ["result"], registry=registry)
        self._probe_seconds = _histogram(
            registry, "vllm_operator_probe_duration_seconds", "Duration of a probe.", CALL_BUCKETS
        )
        self._completions = Counter(
            "vllm_operator_completions",
            "Synthetic completions of replicas.",
            ["outcome"],
            registry=registry,
        )
        self._restarts = Counter(
            "vllm_operator_stalled_restarts",
            "Pods deleted for a stalled engine (restartStalled).",
            registry=registry,
        )

        # prometheus_client finds a series by its labels under a lock each time; there are few of them.
        self._calls_with = functools.cache(self._calls.labels)
        self._call_seconds_with = functools.cache(self._call_seconds.labels)
        self._watch_events_with = functools.cache(self._watch_events.labels)
        self._reconciles_with = functools.cache(self._reconciles.labels)
        self._probes_with = functools.cache(self._probes.labels)

    def register_gauges(self, read: Callable[[], GaugeValues]) -> None:
        """Call `read` at each scrape and export its values."""
        self.registry.register(_Gauges(read))

    def register(self, collector: Collector) -> None:
        """Export what a further collector returns at each scrape."""
        self.registry.register(collector)

    def count_reconcile(self, outcome: str, seconds: float) -> None:
        """Count a reconcile: `success`, `error` for a failure that is retried, `defect` for a bug of the operator."""
        self._reconciles_with(outcome).inc()
        self._reconcile_seconds.observe(seconds)

    def count_queue_wait(self, seconds: float) -> None:
        """Count the time that a server waited in the work queue."""
        self._queue_seconds.observe(seconds)

    def count_api_request(self, verb: str, resource: str, code: int | None, seconds: float) -> None:
        """Count a call to the API server; `code` is None when no answer came."""
        self._calls_with(verb, resource, code or NO_ANSWER).inc()
        self._call_seconds_with(verb).observe(seconds)

    def count_watch_event(self, kind: str) -> None:
        """Count a watch event."""
        self._watch_events_with(kind).inc()

    def count_probe(self, result: str, seconds: float) -> None:
        """Count a probe of a replica."""
        self._probes_with(result).inc()
        self._probe_seconds.observe(seconds)

    def count_completion(self, outcome: str) -> None:
        """Count a synthetic completion by its outcome (`probing.synthetic_completion.CompletionVerdict`)."""
        self._completions.labels(outcome).inc()

    def count_stalled_restart(self) -> None:
        """Count a pod that was deleted because its engine stalled."""
        self._restarts.inc()


def _histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)


class _Gauges(Collector):
    """Gauges that are read at a scrape instead of being kept up to date."""

    def __init__(self, read: Callable[[], GaugeValues]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        values = self._read()
        yield _gauge("leader", "1 while this process may write, else 0.", values.leader)
        yield _gauge("queue_depth", "Servers that wait to be reconciled.", values.queue_depth)
        yield _gauge("queue_age_seconds", "How long the first of them has waited.", values.queue_age)
        yield _gauge("reconciles_running", "Reconciles under way.", values.running)
        yield _gauge("servers_failing", "Servers whose last reconcile failed.", values.failing)
        yield _gauge("probed_replicas", "Replicas that are probed.", values.replicas)
        yield _gauges("servers", "Servers by phase.", "phase", values.phases)
        yield _gauges("cached_objects", "Objects in the caches.", "kind", values.cached)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"vllm_operator_{name}", text, value=float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"vllm_operator_{name}", text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family
