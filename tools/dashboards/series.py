"""Expressions that the dashboards share. They take the names of old and new vLLM releases, and count a replica once.

Two jobs may scrape a replica (a PodMonitor and the annotations), so that each expression takes the larger one of equal
series first. `or` adds a name only where the one before it is absent.
"""

from __future__ import annotations

from tools.dashboards.model import INTERVAL
from vllm_operator.vllm.metric_series import MetricNames

NAMES = MetricNames()

OLD_KV_CACHE = "vllm:gpu_cache_usage_perc"
"""Name before vLLM 0.9.2 (vllm#18354)."""

RECORDED_RUNNING = "vllm_num_requests_running"
"""Running requests under a name without a colon, as rules for an autoscaler record them."""

SAFE = "[b-df-hj-np-tv-xz24-9]"
"""Alphabet of the generated parts of pod names (apimachinery pkg/util/rand)."""

PODS = f"${{server}}-{SAFE}{{1,10}}-?{SAFE}{{5}}"
"""Pattern of the pods of `$server`. Kubernetes leaves out the dash for names of 47 characters or more."""

REPLICAS = 'namespace="$namespace",pod=~"$pod"'
SERVER = 'namespace="$namespace",vllmserver="$server"'
SERVERS = 'namespace=~"$namespace"'


def gauge(selector: str, *names: str) -> str:
    """Return the sum over the engines of each replica, under the first of the names that is exported."""
    engines = " or ".join(f"{name}{{{selector}}}" for name in names)
    return f"sum by (namespace, pod) (max by (namespace, pod, engine) ({engines}))"


def running(selector: str) -> str:
    """Return the running requests of each replica, also where only the recorded name exists."""
    recorded = f"max by (namespace, pod) ({RECORDED_RUNNING}{{{selector}}})"
    return f"({gauge(selector, NAMES.running)} or {recorded})"


def rate(selector: str, *names: str, keep: tuple[str, ...] = ()) -> str:
    """Return the rate of a counter by namespace, pod and the labels to keep."""
    by = ", ".join(("namespace", "pod", *keep))
    inner = ", ".join(("namespace", "pod", "engine", *keep))
    rates = " or ".join(f"rate({name}{{{selector}}}[{INTERVAL}])" for name in names)
    return f"sum by ({by}) (max by ({inner}) ({rates}))"


def quantile(share: float, selector: str, *names: str, by: str = "") -> str:
    """Return a quantile of histograms of all replicas together; the names are without `_bucket`."""
    rates = " or ".join(f"rate({name}_bucket{{{selector}}}[{INTERVAL}])" for name in names)
    groups = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({groups}) (max by (namespace, pod, engine, le) ({rates})))"


def of_server(name: str, selector: str = SERVER, by: str = "") -> str:
    """Return a series about a server, from the operator (`--server-metrics`) or from kube-state-metrics."""
    either = f"vllm_operator_server_{name}{{{selector}}} or kube_vllmserver_{name}{{{selector}}}"
    labels = f" by ({by})" if by else ""
    return f"max{labels} ({either})"


def with_server(expr: str) -> str:
    """Return an expression by pod with the label `vllmserver`, taken from the name of the pod."""
    return f'label_replace({expr}, "vllmserver", "$1", "pod", "(.+)-{SAFE}{{1,10}}-{SAFE}{{5}}")'


def replica_phases(selector: str) -> str:
    """Return the number of replicas by phase. kube-state-metrics has a series for each replica and phase."""
    series = f"status_replica_phase{{{selector}}}"
    each = f"max by (namespace, vllmserver, replica, phase) (kube_vllmserver_{series})"
    return f"max by (phase) (vllm_operator_server_{series}) or sum by (phase) ({each} == 1)"
