"""The dashboard of the operator itself. Metrics: docs/reference/metrics.md."""

from __future__ import annotations

from tools.dashboards.model import INTERVAL, Dashboard, Panel, Query, Row, Variable, View

OPERATOR = 'namespace="$namespace"'
FAILED = f'{OPERATOR},code=~"5..|429|none"'
OF_OPERATOR = "and on (namespace, pod) vllm_operator_build_info"
"""Keeps the processes that are operators."""
PROCESS = f'{OPERATOR},pod=~"$pod"'

VARIABLES = (
    Variable("namespace", "label_values(vllm_operator_build_info, namespace)"),
    Variable("pod", f"label_values(vllm_operator_build_info{{{OPERATOR}}}, pod)", all_value=".+"),
)


def _gauge(name: str, by: str = "") -> str:
    """Return the largest value of a gauge; the processes that stand by have smaller ones."""
    return f"max{f' by ({by})' if by else ''} (vllm_operator_{name}{{{OPERATOR}}})"


def _rate(name: str, by: str = "", selector: str = OPERATOR) -> str:
    return f"sum{f' by ({by})' if by else ''} (rate(vllm_operator_{name}{{{selector}}}[{INTERVAL}]))"


def _p99(name: str, by: str = "le") -> str:
    return f"histogram_quantile(0.99, sum by ({by}) (rate(vllm_operator_{name}_bucket{{{OPERATOR}}}[{INTERVAL}])))"


STATUS = Row(
    "Status",
    (
        Panel(
            "Version",
            "Version of each process.",
            (Query(f"max by (pod, version) (vllm_operator_build_info{{{OPERATOR}}})", "{{version}}"),),
            view=View.NAME,
            width=4,
        ),
        Panel(
            "Leaders",
            "Processes that hold the Lease, or run without leader election: 1.",
            (Query(f"sum (max by (pod) (vllm_operator_leader{{{OPERATOR}}}))"),),
            view=View.NUMBER,
            width=4,
        ),
        Panel(
            "Servers",
            "VLLMServers in the caches.",
            (Query(f"sum ({_gauge('servers', 'phase')})"),),
            view=View.NUMBER,
            width=4,
        ),
        Panel(
            "Failing servers",
            "Servers whose last reconcile failed; each is tried again.",
            (Query(_gauge("servers_failing")),),
            view=View.NUMBER,
            width=4,
        ),
        Panel(
            "Probed replicas",
            "Replicas that are probed.",
            (Query(_gauge("probed_replicas")),),
            view=View.NUMBER,
            width=4,
        ),
        Panel(
            "Age of the queue",
            "How long the first server waits for its reconcile.",
            (Query(_gauge("queue_age_seconds")),),
            unit="s",
            view=View.NUMBER,
            width=4,
        ),
    ),
)
RECONCILES = Row(
    "Reconciles",
    (
        Panel(
            "Reconciles",
            "Reconciles by outcome.",
            (Query(_rate("reconciles_total", "outcome"), "{{outcome}}"),),
            unit="ops",
        ),
        Panel(
            "Time of a reconcile",
            "The 99th percentile, and that of the wait for it.",
            (Query(_p99("reconcile_duration_seconds"), "reconcile"), Query(_p99("queue_wait_seconds"), "wait")),
            unit="s",
        ),
        Panel(
            "Work queue",
            "Servers that wait, and reconciles under way.",
            (Query(_gauge("queue_depth"), "waiting"), Query(_gauge("reconciles_running"), "running")),
        ),
        Panel(
            "Servers by phase",
            "VLLMServers by status.phase.",
            (Query(_gauge("servers", "phase"), "{{phase}}"),),
            view=View.STACKED,
        ),
        Panel(
            "Watch events",
            "Objects received from watches and lists, by kind.",
            (Query(_rate("watch_events_total", "kind"), "{{kind}}"),),
            unit="ops",
        ),
        Panel(
            "Objects in the caches",
            "Objects by kind.",
            (Query(_gauge("cached_objects", "kind"), "{{kind}}"),),
            view=View.STACKED,
        ),
    ),
)
CALLS = Row(
    "Calls and probes",
    (
        Panel(
            "Calls to the API server",
            "Calls by verb.",
            (Query(_rate("api_requests_total", "verb"), "{{verb}}"),),
            unit="reqps",
        ),
        Panel(
            "Failed calls",
            "Share of the calls with a server error, too many requests, or no answer.",
            (
                Query(
                    f"({_rate('api_requests_total', selector=FAILED)} or vector(0)) "
                    f"/ ({_rate('api_requests_total')} > 0)",
                    "failed",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Time of a call, p99",
            "Time until the answer of the API server begins, by verb.",
            (Query(_p99("api_request_duration_seconds", "verb, le"), "{{verb}}"),),
            unit="s",
        ),
        Panel(
            "Probes",
            "Probes of replicas by result.",
            (Query(_rate("probes_total", "result"), "{{result}}"),),
            unit="ops",
        ),
        Panel(
            "Time of a probe, p99", "The 99th percentile.", (Query(_p99("probe_duration_seconds"), "p99"),), unit="s"
        ),
        Panel(
            "Synthetic completions and restarts",
            "Synthetic completions, and pods deleted for a stalled engine.",
            (
                Query(f"{_rate('completions_total')} or vector(0)", "completions"),
                Query(_rate("stalled_restarts_total"), "restarts"),
            ),
            unit="ops",
        ),
    ),
)
PROCESS_ROW = Row(
    "Process",
    (
        Panel(
            "CPU",
            "CPU time in a second, 1 is a whole core.",
            (
                Query(
                    f"rate(process_cpu_seconds_total{{{PROCESS}}}[{INTERVAL}]) {OF_OPERATOR}",
                    "{{pod}}",
                ),
            ),
        ),
        Panel(
            "Memory",
            "Resident memory.",
            (
                Query(
                    f"process_resident_memory_bytes{{{PROCESS}}} {OF_OPERATOR}",
                    "{{pod}}",
                ),
            ),
            unit="bytes",
        ),
        Panel(
            "Open files",
            "Open files, sockets among them.",
            (Query(f"process_open_fds{{{PROCESS}}} {OF_OPERATOR}", "{{pod}}"),),
        ),
    ),
)
DASHBOARD = Dashboard(
    "vllm-operator",
    "vLLM / Operator",
    "The operator: its leader, its reconciles, its calls to the API server, its probes.",
    VARIABLES,
    (STATUS, RECONCILES, CALLS, PROCESS_ROW),
)
