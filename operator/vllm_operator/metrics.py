"""The operator's own metrics, for Prometheus. Few labels: no server names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from vllm_operator import __version__


class Metrics:
    """Metrics of one operator process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.reconciles = Counter(
            "vllm_operator_reconciles", "Passes over a server.", ["outcome"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "vllm_operator_reconcile_duration_seconds",
            "Duration of a pass.",
            buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60),
            registry=self.registry,
        )
        self.queue_depth = Gauge("vllm_operator_queue_depth", "Servers that wait for a pass.", registry=self.registry)
        Info("vllm_operator_build", "Version of the operator.", registry=self.registry).info({"version": __version__})
