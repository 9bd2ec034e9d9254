"""The dashboard of one server: from its status to its engines."""

from __future__ import annotations

from tools.dashboards.model import Dashboard, Panel, Query, Row, Variable, View
from tools.dashboards.series import (
    NAMES,
    OLD_KV_CACHE,
    PODS,
    REPLICAS,
    SERVER,
    gauge,
    of_server,
    quantile,
    rate,
    replica_phases,
    running,
    with_server,
)

HPA = 'namespace="$namespace",horizontalpodautoscaler="$server"'
DEPLOYMENT = 'namespace="$namespace",deployment="$server"'
WANTED = f"max ({of_server('spec_replicas')} or kube_deployment_spec_replicas{{{DEPLOYMENT}}})"
TARGET = (
    f"max ({of_server('spec_target_running_requests')} or "
    f'kube_horizontalpodautoscaler_spec_target_metric{{{HPA},metric_name="vllm_num_requests_running"}})'
)
POST = f'{REPLICAS},method="POST"'
READY = f'{SERVER},condition="Ready"'

_PHASES = ("vllm_operator_server_status_phase", "kube_vllmserver_status_phase")
_KNOWN = " or ".join(
    (
        with_server(f'{NAMES.running}{{namespace="$namespace"}}'),
        *(f'{name}{{namespace="$namespace"}}' for name in _PHASES),
    )
)
VARIABLES = (
    Variable("namespace", f'label_values({{__name__=~"{"|".join((NAMES.running, *_PHASES))}"}}, namespace)'),
    Variable("server", f"query_result(group by (vllmserver) ({_KNOWN}))", regex='/vllmserver="([^"]+)"/'),
    Variable("pod", f'label_values({NAMES.running}{{namespace="$namespace",pod=~"{PODS}"}}, pod)', all_value=PODS),
)


def _quantiles(*names: str) -> tuple[Query, ...]:
    return tuple(Query(quantile(share, REPLICAS, *names), f"p{share * 100:.0f}") for share in (0.5, 0.95, 0.99))


STATUS = Row(
    "Status",
    (
        Panel(
            "Phase",
            "status.phase of the server.",
            (Query(f"{of_server('status_phase', by='phase')} == 1", "{{phase}}"),),
            view=View.NAME,
            width=5,
        ),
        Panel(
            "Serving replicas",
            "Replicas that serve: ready for Kubernetes, and their engine answers and lists the model.",
            (Query(of_server("status_healthy_replicas")),),
            view=View.NUMBER,
            width=5,
        ),
        Panel(
            "Wanted replicas",
            "Replicas of the spec, or of the autoscaler.",
            (Query(WANTED),),
            view=View.NUMBER,
            width=5,
        ),
        Panel(
            "Age of Ready",
            "Time since the condition Ready changed its status.",
            (Query(f"time() - {of_server('status_condition_last_transition_time', READY)}"),),
            unit="s",
            view=View.NUMBER,
            width=5,
        ),
        Panel(
            "Firing alerts",
            "Alerts of this server that fire.",
            (Query(f'count(ALERTS{{{SERVER},alertstate="firing"}}) or vector(0)'),),
            view=View.NUMBER,
            width=4,
        ),
        Panel(
            "Causes",
            "Each condition with its status and reason. kubectl describe vllmserver shows the messages.",
            (Query(f"{of_server('status_condition', by='condition, status, reason')} == 1"),),
            view=View.TABLE,
        ),
        Panel(
            "Replicas",
            "Replicas that are wanted, that exist, that are ready, and that serve.",
            (
                Query(WANTED, "wanted"),
                Query(of_server("status_replicas"), "pods"),
                Query(of_server("status_ready_replicas"), "ready"),
                Query(of_server("status_healthy_replicas"), "serving"),
            ),
        ),
        Panel(
            "Phases of the replicas",
            "Replicas by phase. Draining replicas finish their requests before they end.",
            (Query(replica_phases(SERVER), "{{phase}}"),),
            view=View.STACKED,
        ),
    ),
)
LOAD = Row(
    "Load",
    (
        Panel(
            "Load and target of the autoscaler",
            "Running requests per replica, and the number that the HorizontalPodAutoscaler aims at.",
            (Query(f"avg ({running(REPLICAS)})", "running per replica"), Query(TARGET, "target")),
        ),
        Panel(
            "Replicas of the autoscaler",
            "Replicas that the HorizontalPodAutoscaler has and wants, and its bounds. From kube-state-metrics.",
            (
                Query(f"max (kube_horizontalpodautoscaler_status_current_replicas{{{HPA}}})", "current"),
                Query(f"max (kube_horizontalpodautoscaler_status_desired_replicas{{{HPA}}})", "desired"),
                Query(f"max (kube_horizontalpodautoscaler_spec_min_replicas{{{HPA}}})", "fewest"),
                Query(f"max (kube_horizontalpodautoscaler_spec_max_replicas{{{HPA}}})", "most"),
            ),
        ),
        Panel(
            "Running requests",
            "Requests in the batch of each replica.",
            (Query(running(REPLICAS), "{{pod}}"),),
            view=View.STACKED,
        ),
        Panel(
            "Queue",
            "Requests that wait for a place in the batch of each replica.",
            (Query(gauge(REPLICAS, NAMES.waiting), "{{pod}}"),),
            view=View.STACKED,
        ),
        Panel(
            "Finished requests",
            "Requests that ended, by their reason.",
            (
                Query(
                    f"sum by (finished_reason) ({rate(REPLICAS, NAMES.finished, keep=('finished_reason',))})",
                    "{{finished_reason}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "HTTP answers",
            "Answers to POST by class of their status; the rest are probes and lists of models.",
            (
                Query(
                    f"sum by (status) ({rate(POST, NAMES.http_requests, keep=('status',))})",
                    "{{status}}",
                ),
            ),
            unit="reqps",
        ),
    ),
)
LATENCY = Row(
    "Latency",
    (
        Panel(
            "Time to the first token",
            "From the arrival of a request to its first token, all replicas together.",
            _quantiles("vllm:time_to_first_token_seconds"),
            unit="s",
        ),
        Panel(
            "Time per output token",
            "Between two tokens of a request.",
            _quantiles("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
            unit="s",
        ),
        Panel(
            "Whole request",
            "From the arrival of a request to its end.",
            _quantiles(NAMES.latency.removesuffix("_bucket")),
            unit="s",
        ),
        Panel(
            "Wait in the queue",
            "From the arrival of a request to its first step in the batch.",
            _quantiles("vllm:request_queue_time_seconds"),
            unit="s",
        ),
        Panel(
            "Prefill",
            "Time that the prompt of a request takes.",
            _quantiles("vllm:request_prefill_time_seconds"),
            unit="s",
        ),
        Panel(
            "Decode",
            "From the first token of a request to its last one.",
            _quantiles("vllm:request_decode_time_seconds"),
            unit="s",
        ),
    ),
)
HITS = rate(REPLICAS, "vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
LOOKUPS = rate(REPLICAS, "vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")
ENGINE = Row(
    "Engine",
    (
        Panel(
            "Tokens",
            "Prompt tokens and generated tokens of all replicas.",
            (
                Query(f"sum ({rate(REPLICAS, NAMES.prompt_tokens)})", "prompt"),
                Query(f"sum ({rate(REPLICAS, NAMES.generation_tokens)})", "generated"),
            ),
            unit="short",
        ),
        Panel(
            "Generated tokens by replica",
            "Tokens in a second of each replica: one far below the others is slow or idle.",
            (Query(rate(REPLICAS, NAMES.generation_tokens), "{{pod}}"),),
        ),
        Panel(
            "KV cache",
            "Used share of the KV cache, of the fullest engine of each replica.",
            (
                Query(
                    f"max by (namespace, pod) ({NAMES.kv_cache}{{{REPLICAS}}} or {OLD_KV_CACHE}{{{REPLICAS}}})",
                    "{{pod}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Hit rate of the prefix cache",
            "Share of the prompt tokens whose KV blocks were cached.",
            (Query(f"{HITS} / ({LOOKUPS} > 0)", "{{pod}}"),),
            unit="percentunit",
        ),
        Panel(
            "Preemptions",
            "Running requests that were thrown out of the KV cache, and are computed again.",
            (Query(rate(REPLICAS, NAMES.preemptions), "{{pod}}"),),
            unit="short",
        ),
        Panel(
            "Memory of vLLM's API server",
            "Resident memory of the HTTP process; that of the engine and of the GPU is not part of it.",
            (
                Query(
                    f"max by (namespace, pod) (process_resident_memory_bytes{{{REPLICAS}}})",
                    "{{pod}}",
                ),
            ),
            unit="bytes",
        ),
    ),
)
DASHBOARD = Dashboard(
    "vllm-server",
    "vLLM / Server",
    "One VLLMServer: its status, its load, and its engines.",
    VARIABLES,
    (STATUS, LOAD, LATENCY, ENGINE),
)
