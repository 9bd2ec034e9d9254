"""Series of a replica as Prometheus stores them, in promtool's notation (`0+5x240`: 241 samples, each 5 higher)."""

from dataclasses import dataclass

INTERVAL_SECONDS = 15
SAMPLES = 240
"""One hour."""

HEALTHY = {
    "up": f"1x{SAMPLES}",
    "running": f"2x{SAMPLES}",
    "waiting": f"0x{SAMPLES}",
    "kv_cache": f"0.3+0.001x{SAMPLES}",
    "generation": f"0+100x{SAMPLES}",
    "prompt": f"0+50x{SAMPLES}",
    "preempted": f"0x{SAMPLES}",
    "finished": f"0+5x{SAMPLES}",
    "ok": f"0+5x{SAMPLES}",
    "refused": f"0x{SAMPLES}",
    "failed": f"0x{SAMPLES}",
    "listed": f"0+2x{SAMPLES}",
    "within_20s": f"0+5x{SAMPLES}",
    "within_30s": f"0+5x{SAMPLES}",
    "within_40s": f"0+5x{SAMPLES}",
}
"""A busy replica: some requests in the batch, none waiting, all of them quick and successful."""

CHAT = 'handler="/v1/chat/completions",method="POST"'
LATENCY = "vllm:e2e_request_latency_seconds_bucket"
SERIES = {
    "up": ("up", ""),
    "running": ("vllm:num_requests_running", "engine"),
    "waiting": ("vllm:num_requests_waiting", "engine"),
    "kv_cache": ("vllm:kv_cache_usage_perc", "engine"),
    "generation": ("vllm:generation_tokens_total", "engine"),
    "prompt": ("vllm:prompt_tokens_total", "engine"),
    "preempted": ("vllm:num_preemptions_total", "engine"),
    "finished": ("vllm:request_success_total", 'engine,finished_reason="stop"'),
    "ok": ("http_requests_total", f'{CHAT},status="2xx"'),
    "refused": ("http_requests_total", f'{CHAT},status="4xx"'),
    "failed": ("http_requests_total", f'{CHAT},status="5xx"'),
    "listed": ("http_requests_total", 'handler="/v1/models",method="GET",status="2xx"'),
    "within_20s": (LATENCY, 'engine,le="20.0"'),
    "within_30s": (LATENCY, 'engine,le="30.0"'),
    "within_40s": (LATENCY, 'engine,le="40.0"'),
    "all": (LATENCY, 'engine,le="+Inf"'),
}
"""Key of a story -> its metric, and the labels in addition to those of the target."""


@dataclass(frozen=True)
class Replica:
    """A target: a data-parallel engine of a pod, scraped by a job."""

    pod: str = "mistral-5f9c6d7b8-x2k7b"
    namespace: str = "llm"
    engine: int = 0
    job: str = "llm/mistral"

    def series(self, **story: str) -> list[dict[str, str]]:
        """The series of a healthy replica, changed by `story`; an empty value leaves a series out."""
        values = {**HEALTHY, **story}
        values["all"] = values["within_40s"]
        return [self._one(*SERIES[key], values[key]) for key in SERIES if values[key]]

    def loading(self) -> list[dict[str, str]]:
        """A pod whose port is closed: the scrape fails, and there is no other series."""
        return [self._one("up", "", f"0x{SAMPLES}")]

    def asleep(self) -> list[dict[str, str]]:
        """The gauge of an engine that was put to sleep."""
        return [self._one("vllm:engine_sleep_state", 'engine,sleep_state="awake"', f"0x{SAMPLES}")]

    def _one(self, metric: str, labels: str, values: str) -> dict[str, str]:
        target = f'namespace="{self.namespace}",pod="{self.pod}",job="{self.job}",container="vllm",'
        own = labels.replace("engine", f'model_name="mistral-7b",engine="{self.engine}"', 1)
        return {"series": f"{metric}{{{target}{own}}}".replace(",}", "}"), "values": values}


def until(minute: int, values: str) -> str:
    """A constant until `minute`, then the series is gone: the target vanished, or its scrape fails."""
    return f"{values}x{minute * 60 // INTERVAL_SECONDS} stale"


def alternating(*values: float) -> str:
    """An hour of values, over and over."""
    return " ".join(str(values[i % len(values)]) for i in range(SAMPLES + 1))


GONE_AFTER_10_MINUTES = {
    key: until(10, values.partition("x")[0].partition("+")[0]) for key, values in HEALTHY.items() if key != "up"
} | {"up": "1x40 0x200"}
"""A replica whose container died after ten minutes and did not come back."""
