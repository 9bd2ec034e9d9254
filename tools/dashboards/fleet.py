"""The dashboard of all servers."""

from __future__ import annotations

from tools.dashboards.model import INTERVAL, Dashboard, Panel, Query, Row, Variable, View
from tools.dashboards.series import NAMES, OLD_KV_CACHE, SERVERS, gauge, of_server, rate, running, with_server

PODS = f'{SERVERS},pod!=""'
BY = "namespace, vllmserver"
LEGEND = "{{namespace}}/{{vllmserver}}"
POST = f'{PODS},method="POST"'

VARIABLES = (
    Variable(
        "namespace",
        f'label_values({{__name__=~"{NAMES.running}|vllm_operator_server_status_phase|kube_vllmserver_status_phase"}}, '
        "namespace)",
        all_value=".+",
    ),
)


def _summed(expr: str) -> str:
    """Return an expression by pod, summed for each server."""
    return f"sum by ({BY}) ({with_server(expr)})"


def _p95(name: str) -> str:
    """Return the 95th percentile of a histogram for each server."""
    rates = f"max by (namespace, pod, engine, le) (rate({name}_bucket{{{PODS}}}[{INTERVAL}]))"
    return f"histogram_quantile(0.95, sum by ({BY}, le) ({with_server(rates)}))"


PHASE = of_server("status_phase", SERVERS, f"{BY}, phase")
HEALTHY = of_server("status_healthy_replicas", SERVERS, BY)
READY = of_server("status_condition", f'{SERVERS},condition="Ready"', f"{BY}, status, reason")
FAILED = f'{POST},status="5xx"'

STATUS = Row(
    "Status",
    (
        Panel(
            "Servers by phase",
            "VLLMServers by status.phase. Without metrics of servers: all namespaces of the operator together.",
            (Query(f"count by (phase) ({PHASE} == 1) or max by (phase) (vllm_operator_servers)", "{{phase}}"),),
            view=View.NUMBER,
            width=12,
        ),
        Panel(
            "Serving replicas",
            "Replicas that serve, of all servers.",
            (Query(f"sum ({HEALTHY})"),),
            view=View.NUMBER,
            width=6,
        ),
        Panel(
            "Firing alerts",
            "Alerts of servers that fire.",
            (Query(f'count(ALERTS{{{SERVERS},vllmserver!="",alertstate="firing"}}) or vector(0)'),),
            view=View.NUMBER,
            width=6,
        ),
        Panel(
            "Servers and their causes",
            "The condition Ready of each server, with its reason.",
            (Query(f"{READY} == 1"),),
            view=View.TABLE,
            width=12,
        ),
        Panel(
            "Serving replicas by server",
            "Replicas that serve.",
            (Query(HEALTHY, LEGEND),),
            width=12,
        ),
    ),
)
LOAD = Row(
    "Load",
    (
        Panel(
            "Running requests",
            "Requests in the batches of each server.",
            (Query(_summed(running(PODS)), LEGEND),),
            view=View.STACKED,
        ),
        Panel(
            "Queue",
            "Requests that wait for a place in a batch.",
            (Query(_summed(gauge(PODS, NAMES.waiting)), LEGEND),),
            view=View.STACKED,
        ),
        Panel(
            "Generated tokens",
            "Tokens in a second of each server.",
            (Query(_summed(rate(PODS, NAMES.generation_tokens)), LEGEND),),
        ),
        Panel(
            "Time to the first token, p95",
            "The 95th percentile of each server.",
            (Query(_p95("vllm:time_to_first_token_seconds"), LEGEND),),
            unit="s",
        ),
        Panel(
            "Whole request, p95",
            "The 95th percentile of each server.",
            (Query(_p95(NAMES.latency.removesuffix("_bucket")), LEGEND),),
            unit="s",
        ),
        Panel(
            "Failed requests",
            "Share of the answers to POST that are server errors.",
            (
                Query(
                    f"({_summed(rate(FAILED, NAMES.http_requests))} or 0 * {_summed(rate(POST, NAMES.http_requests))}) "
                    f"/ ({_summed(rate(POST, NAMES.http_requests))} > 0)",
                    LEGEND,
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "KV cache",
            "Used share of the KV cache, of the fullest engine of each server.",
            (
                Query(
                    f"max by ({BY}) (" + with_server(f"({NAMES.kv_cache}{{{PODS}}} or {OLD_KV_CACHE}{{{PODS}}})") + ")",
                    LEGEND,
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Preemptions",
            "Running requests that were thrown out of the KV cache, and are computed again.",
            (Query(_summed(rate(PODS, NAMES.preemptions)), LEGEND),),
        ),
        Panel(
            "Prompt tokens",
            "Prompt tokens in a second of each server.",
            (Query(_summed(rate(PODS, NAMES.prompt_tokens)), LEGEND),),
        ),
    ),
)
DASHBOARD = Dashboard(
    "vllm-fleet",
    "vLLM / Fleet",
    "All VLLMServers: which serve, which do not and why, and their load.",
    VARIABLES,
    (STATUS, LOAD),
)
