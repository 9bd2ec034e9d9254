"""The operator's own metrics, for Prometheus: docs/metrics.md. Few labels: no server names, no namespaces."""

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
"""The code of a call that was not answered."""

PASS_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60)
WAIT_BUCKETS = (0.001, 0.01, 0.1, 0.5, 2, 10, 60, 300)
CALL_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2, 5, 20)


@dataclass(frozen=True)
class Snapshot:
    """What is read at a scrape.

    Attributes:
        leader: whether this process may write.
        queue_depth: servers that wait for a pass.
        queue_age: seconds that the first of them has waited.
        running: passes under way.
        failing: servers whose last pass failed.
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
    """Metrics of one operator process, in a registry of their own."""

    def __init__(self) -> None:
        # A second series beside every counter, of which nobody asks when it began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("vllm_operator_build", "Version of the operator.", registry=registry).info({"version": __version__})
        self._reconciles = Counter("vllm_operator_reconciles", "Passes over a server.", ["outcome"], registry=registry)
        self._reconcile_seconds = _histogram(
            registry, "vllm_operator_reconcile_duration_seconds", "Duration of a pass.", PASS_BUCKETS
        )
        self._queue_seconds = _histogram(
            registry, "vllm_operator_queue_wait_seconds", "Wait of a server for its pass.", WAIT_BUCKETS
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
            "vllm_operator_watch_events", "Objects that watches and their lists told of.", ["kind"], registry=registry
        )
        self._probes = Counter("vllm_operator_probes", "Probes of replicas.", ["result"], registry=registry)
        self._probe_seconds = _histogram(
            registry, "vllm_operator_probe_duration_seconds", "Duration of a probe.", CALL_BUCKETS
        )
        self._completions = Counter(
            "vllm_operator_completions", "One-token completions asked of replicas.", ["outcome"], registry=registry
        )
        self._restarts = Counter(
            "vllm_operator_stalled_restarts", "Pods deleted for a frozen engine (restartStalled).", registry=registry
        )

        # A child is looked up by its labels under a lock each time; there are few.
        self._calls_of = functools.cache(self._calls.labels)
        self._call_seconds_of = functools.cache(self._call_seconds.labels)
        self._watch_events_of = functools.cache(self._watch_events.labels)
        self._reconciles_of = functools.cache(self._reconciles.labels)
        self._probes_of = functools.cache(self._probes.labels)

    def show(self, snapshot: Callable[[], Snapshot]) -> None:
        """Ask for this at each scrape."""
        self.registry.register(_Gauges(snapshot))

    def passed(self, outcome: str, seconds: float) -> None:
        """Count a pass: `success`, `error` for what may pass, `defect` for what is our fault."""
        self._reconciles_of(outcome).inc()
        self._reconcile_seconds.observe(seconds)

    def waited(self, seconds: float) -> None:
        """Count the end of a wait in the queue."""
        self._queue_seconds.observe(seconds)

    def called(self, verb: str, resource: str, code: int | None, seconds: float) -> None:
        """Count a call to the API server; without a code it was not answered."""
        self._calls_of(verb, resource, code or NO_ANSWER).inc()
        self._call_seconds_of(verb).observe(seconds)

    def saw(self, kind: str) -> None:
        """Count an event of a watch."""
        self._watch_events_of(kind).inc()

    def probed(self, result: str, seconds: float) -> None:
        """Count a probe of a replica."""
        self._probes_of(result).inc()
        self._probe_seconds.observe(seconds)

    def completed(self, outcome: str) -> None:
        """Count a completion that a replica was asked for, by what it showed: `engine.completion.Verdict`."""
        self._completions.labels(outcome).inc()

    def healed(self) -> None:
        """Count a pod that was deleted because its engine is frozen."""
        self._restarts.inc()


def _histogram(
    registry: CollectorRegistry, name: str, text: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)


class _Gauges(Collector):
    """What is read at a scrape instead of being kept up to date."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        now = self._snapshot()
        yield _gauge("leader", "1 while this process may write, else 0.", now.leader)
        yield _gauge("queue_depth", "Servers that wait for a pass.", now.queue_depth)
        yield _gauge("queue_age_seconds", "How long the first of them has waited.", now.queue_age)
        yield _gauge("reconciles_running", "Passes under way.", now.running)
        yield _gauge("servers_failing", "Servers whose last pass failed.", now.failing)
        yield _gauge("probed_replicas", "Replicas that are probed.", now.replicas)
        yield _gauges("servers", "Servers by phase.", "phase", now.phases)
        yield _gauges("cached_objects", "Objects in the caches.", "kind", now.cached)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"vllm_operator_{name}", text, value=float(value))


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"vllm_operator_{name}", text, labels=[label])
    for value, number in sorted(values.items()):
        family.add_metric([value], number)
    return family
