"""The Prometheus series of a server, under the names that its vLLM uses. Names: the /metrics of vLLM 0.32."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vllm_operator.api.names import child_name
from vllm_operator.api.server import VLLMServer
from vllm_operator.vllm.version import Version, follows_report, reported_version, shown_version

_GENERATED_PREFIX = 58
"""Length to which Kubernetes cuts a generated name before it adds five characters (apiserver pkg/storage/names)."""

_HASH_LENGTH = 10
"""Longest pod-template hash: 32 bits in decimal digits, each encoded as one character."""

_SAFE = "[b-df-hj-np-tv-xz24-9]"
"""Alphabet of hashes and suffixes: no vowels, no 0, 1 and 3 (apimachinery pkg/util/rand)."""


SLEEP_STATE = "vllm:engine_sleep_state"
"""Gauge of 0.11.2 and later; rules may only use it to leave an engine out."""

PROCESS_START = "process_start_time_seconds"
"""Gauge of Python's Prometheus client; missing where several API servers share one port."""


@dataclass(frozen=True)
class MetricNames:
    """Names of the metrics that vLLM exports, as of 0.32; of a histogram, the name without `_bucket`.

    `output_token` has a value for each request.
    """

    running: str = "vllm:num_requests_running"
    waiting: str = "vllm:num_requests_waiting"
    kv_cache: str = "vllm:kv_cache_usage_perc"
    latency: str = "vllm:e2e_request_latency_seconds"
    first_token: str = "vllm:time_to_first_token_seconds"
    output_token: str = "vllm:request_time_per_output_token_seconds"
    prompt_tokens: str = "vllm:prompt_tokens_total"
    generation_tokens: str = "vllm:generation_tokens_total"
    preemptions: str = "vllm:num_preemptions_total"
    finished: str = "vllm:request_success_total"
    http_requests: str = "http_requests_total"


def metric_names(version: Version | None) -> MetricNames:
    """Return the names in a version of vLLM; None stands for the tested release. Tests compare them with `releases/`.

    0.9.2 exports kv_cache_usage_perc (vllm#18354) and the old name, 0.9.0 only the old one; vllm#29330 removed it.
    The time for each output token of a request is exported from 0.11.2 on, before that only the times between tokens.
    """
    if version is not None and version < (0, 10):
        return replace(
            MetricNames(), kv_cache="vllm:gpu_cache_usage_perc", output_token="vllm:time_per_output_token_seconds"
        )
    if version is not None and version < (0, 12):
        return replace(MetricNames(), output_token="vllm:inter_token_latency_seconds")
    return MetricNames()


def pod_name_pattern(deployment: str) -> str:
    """Return an anchored RE2 pattern for the pods of a Deployment: `mistral` does not match pods of `mistral-large`.

    From 47 characters on, Kubernetes cuts the hash in the names of the pods, and from 58 on the name of the Deployment:
    such servers differ only by their first 58 characters.
    """
    name = deployment.replace(".", "[.]")
    room = _GENERATED_PREFIX - len(deployment) - 1
    if room > _HASH_LENGTH:
        return f"{name}-{_SAFE}{{1,{_HASH_LENGTH}}}-{_SAFE}{{5}}"
    if room > 0:
        return f"{name}-{_SAFE}{{1,{room}}}-?{_SAFE}{{5}}"
    cut = f"{deployment}-"[:_GENERATED_PREFIX].replace(".", "[.]")
    return f"{cut}{_SAFE}{{5}}"


@dataclass(frozen=True)
class ServerSeries:
    """Selectors for the series of one server, by `namespace` and `pod`, which each way of scraping sets.

    `job` depends on the scraper, and `model_name` is not unique to a server.
    """

    namespace: str
    pods: str
    names: MetricNames

    def __call__(self, metric: str, *matchers: str) -> str:
        """Return the instant selector of `metric`, with further matchers such as `status="5xx"`."""
        own = (f'namespace="{self.namespace}"', f'pod=~"{self.pods}"', *matchers)
        return f"{metric}{{{','.join(own)}}}"


def server_series(server: VLLMServer) -> ServerSeries:
    """Return the series of a server, under the names of the vLLM that its spec shows, or else its replicas report."""
    shown = shown_version(server.spec)
    if follows_report(server.spec):
        shown = reported_version(server.status)
    names = metric_names((shown.number[0], shown.number[1]) if shown else None)
    return ServerSeries(server.namespace, pod_name_pattern(child_name(server.name)), names)
