"""Items about metrics and alerts."""

from __future__ import annotations

from collections.abc import Callable

from vllm_operator.cli.checks.item import CheckItem, CheckResult, CheckSubject, passes
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import condition

SECTION = "Monitoring"


def scraping(subject: CheckSubject) -> CheckResult:
    """Judge whether Prometheus finds the replicas."""
    mode = subject.spec.monitoring.scrape
    if mode == "none":
        return CheckResult("fail", "monitoring.scrape is none: nothing reads /metrics", "set monitoring.scrape: auto")
    active = condition({"status": subject.status}, "MonitoringActive")
    if active.get("status") == "False":
        return CheckResult(
            "warn", f"MonitoringActive is False: {clean(active.get('message'))}", "install it, or change monitoring"
        )
    found = "a PodMonitor" if "PodMonitor" in subject.objects else "annotations of the pods (prometheus.io/scrape)"
    return passes(f"monitoring.scrape is {mode}: by {found}; no one here can see whether a Prometheus reads it")


def _with_metrics(evidence: str) -> Callable[[CheckSubject], CheckResult]:
    """Return a judge of something that vLLM exports unless its statistics are turned off."""

    def judge(subject: CheckSubject) -> CheckResult:
        if subject.flag("--disable-log-stats") is not None:
            return CheckResult("fail", "--disable-log-stats: vLLM does not export it", "remove --disable-log-stats")
        if subject.spec.monitoring.scrape == "none":
            return CheckResult("fail", "vLLM exports it, and nothing reads it", "set monitoring.scrape: auto")
        return passes(evidence)

    return judge


def gpu(subject: CheckSubject) -> CheckResult:
    """Judge memory and utilization of the GPU, of which vLLM exports the KV cache alone."""
    if not subject.uses_accelerator:
        return CheckResult("n/a", "accelerator.resourceName is empty: the replicas run on CPUs")
    return CheckResult(
        "unknown",
        "vLLM exports the use of its KV cache (vllm:kv_cache_usage_perc), and nothing about the GPU itself",
        "run the exporter of the device's maker, such as dcgm-exporter for NVIDIA",
    )


def alerts(subject: CheckSubject) -> CheckResult:
    """Judge the alerts."""
    settings = subject.spec.monitoring.alerts
    if not settings.enabled:
        return CheckResult(
            "warn", "monitoring.alerts.enabled is false", "enable it, or alert on the same series by rules of your own"
        )
    if subject.api_kinds is not None and "PrometheusRule" not in subject.api_kinds:
        return CheckResult(
            "warn", "the cluster has no CRD of PrometheusRule, so no alert is installed", "install prometheus-operator"
        )
    if "PrometheusRule" not in subject.objects:
        return CheckResult("warn", "there is no PrometheusRule of the server", "see: kubectl vllm doctor")
    return passes(
        f"a PrometheusRule: latency (p99 above {settings.p99_latency_seconds:g} s), queue (above "
        f"{settings.queue_length}), KV cache (above {settings.kv_cache_usage:.0%}), errors (above "
        f"{settings.error_ratio:.0%})"
    )


LATENCY = "vllm:e2e_request_latency_seconds and vllm:time_to_first_token_seconds are histograms: p50, p90 and p99"
QUEUE = "vllm:num_requests_running and vllm:num_requests_waiting"

ITEMS = (
    CheckItem("metrics", SECTION, "Prometheus metrics are read", scraping),
    CheckItem("latency", SECTION, "Latency percentiles", _with_metrics(LATENCY)),
    CheckItem("queue", SECTION, "Queue depth", _with_metrics(QUEUE)),
    CheckItem("gpu-metrics", SECTION, "GPU memory and utilization", gpu),
    CheckItem("alerts", SECTION, "Alerts for latency, queue and errors", alerts),
)
