"""A cause of each alert, from its begin to its end, as the series that Prometheus stores (promtool's notation).

The half hour before a cause is healthy, and so is the time after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.helpers.replica_series import HEALTHY, SAMPLES, Replica

Series = list[dict[str, str]]

BEFORE = 30
"""Healthy minutes before a cause."""
MARGIN = 5
"""Minutes that the series go on after the alert has ended."""
STEP_SECONDS = 15
"""Seconds between two samples, and between two evaluations."""

OPERATOR_NAMESPACE = "vllm-operator-system"
OPERATOR_LABELS = f'namespace="{OPERATOR_NAMESPACE}",pod="operator-a",job="podmonitor"'
CHAT = 'namespace="llm",pod="mistral-5f9c6d7b8-x2k7b",job="llm/mistral",handler="/v1/chat/completions",method="POST"'


@dataclass(frozen=True)
class Course:
    """A cause, and when its alert must fire and resolve.

    Attributes:
        alert: name of the alert.
        cause: what happens, for the documentation.
        series: makes the series of the course.
        lasts: minutes of the cause.
        fires: minutes from its begin until the alert fires.
        resolves: minutes from its end until the alert has ended.
        window: label `window` of the alert, where it has one.
        spec: spec of the server, where the alert is about one.
        step: seconds between two samples, and between two evaluations.
    """

    alert: str
    cause: str
    series: Callable[[Course], Series]
    lasts: int
    fires: float
    resolves: float
    window: str = ""
    spec: dict[str, Any] = field(default_factory=dict)
    step: int = STEP_SECONDS

    @property
    def name(self) -> str:
        """Return the alert with its window, as the documentation names it."""
        return f"{self.alert} (`{self.window}`)" if self.window else self.alert

    @property
    def samples(self) -> tuple[int, int, int]:
        """Return the samples before, during and after the cause."""
        rate = 60 // self.step
        return BEFORE * rate, self.lasts * rate, math.ceil(self.resolves + MARGIN) * rate

    def gauge(self, before: object, during: object, after: object) -> str:
        """Return the samples of a gauge with a value for each part; `_` stands for missing samples."""
        parts = zip((before, during, after), self.samples, strict=True)
        return " ".join(f"_x{length}" if value == "_" else f"{value}x{length - 1}" for value, length in parts)

    def counter(self, before: float, during: float, after: float) -> str:
        """Return the samples of a counter, which grows by these amounts with each sample of a part."""
        total, parts = 0.0, []
        for step, length in zip((before, during, after), self.samples, strict=True):
            parts.append(f"{total:g}+{step:g}x{length - 1}")
            total += step * length
        return " ".join(parts)

    def replica(self, **story: str) -> Series:
        """Return the series of a replica that is healthy but for `story`."""
        length = sum(self.samples)
        healthy = {key: values.replace(f"x{SAMPLES}", f"x{length}") for key, values in HEALTHY.items()}
        # The cache of a busy replica moves all the time, and does not fill.
        healthy["kv_cache"] = " ".join(["0.3+0.001x199"] * (length // 200 + 1))
        return Replica().series(**{**healthy, **story})

    def operator(self, **story: str) -> Series:
        """Return the series of an operator that leads, changed by `story`."""
        values = {
            "build_info": self.gauge(1, 1, 1), "leader": self.gauge(1, 1, 1), "servers_failing": self.gauge(0, 0, 0),
            "queue_age_seconds": self.gauge(0, 0, 0), "code 200": self.counter(30, 30, 30), **story,
        }  # fmt: skip
        return [{"series": _operator_series(key), "values": text} for key, text in values.items()]


def _operator_series(key: str) -> str:
    code = key.removeprefix("code ")
    name = f'api_requests_total{{code="{code}",' if code != key else f"{key}{{"
    return f"vllm_operator_{name}{OPERATOR_LABELS}}}"


def _gone(course: Course) -> Series:
    """The container is down during the cause; its successor counts from 0."""
    before, during, after = course.samples
    story = {}
    for key, values in HEALTHY.items():
        part = "0.3" if key == "kv_cache" else values.partition("x")[0]
        story[key] = f"{part}x{before - 1} stale _x{during - 1} {part}x{after - 1}"
    return Replica().series(**{**story, "up": course.gauge(1, 0, 1)})


def _one_of_two_down(course: Course) -> Series:
    second = Replica(pod="mistral-5f9c6d7b8-zz2k9")
    [up] = second.loading()
    return [*course.replica(), {**up, "values": course.gauge("_", 0, "_")}]


def _stalled(course: Course) -> Series:
    before, during, after = course.samples
    cache = f"0.3+0.001x{before - 1} {0.3 + 0.001 * (before - 1):g}x{during - 1} 0.3+0.0001x{after - 1}"
    stuck = {"generation": course.counter(100, 0, 100), "prompt": course.counter(50, 0, 50), "kv_cache": cache}
    return course.replica(**stuck)


def _slow(course: Course) -> Series:
    late = course.counter(5, 0, 5)
    return course.replica(within_20s=late, within_30s=late, within_40s=course.counter(5, 5, 5))


def _answers(course: Course, failed: float, good: float = 25.0) -> Series:
    """Answers of a replica, of which a number fail with each sample of the cause."""
    engine = f'{CHAT.partition(",handler")[0]},engine="0",model_name="mistral-7b"'
    return [
        {"series": f"vllm:num_requests_running{{{engine}}}", "values": course.gauge(1, 1, 1)},
        {"series": f'http_requests_total{{{CHAT},status="2xx"}}', "values": course.counter(good, good, good)},
        {"series": f'http_requests_total{{{CHAT},status="5xx"}}', "values": course.counter(0, failed, 0)},
    ]


_OBJECTIVE = {"monitoring": {"slo": {"availability": {"objective": 0.999}}, "alerts": {"enabled": False}}}

COURSES = (
    Course("VLLMNoReplicaAvailable", "the only replica ends", _gone, 20, 5, 0),
    Course("VLLMEngineStalled", "requests run, and no counter moves", _stalled, 30, 6.75, 0),
    Course("VLLMHighErrorRate", "a third of the answers are 5xx",
           lambda course: course.replica(failed=course.counter(0, 2.5, 0)), 30, 2.75, 4.25),
    Course("VLLMReplicaDown", "one of two does not answer, startupTimeoutSeconds: 60",
           _one_of_two_down, 30, 6, 4.75, spec={"health": {"startupTimeoutSeconds": 60}}),
    Course("VLLMHighLatency", "all requests take 40 s", _slow, 30, 5.25, 4.75),
    Course("VLLMQueueBacklog", "150 requests wait",
           lambda course: course.replica(waiting=course.gauge(0, 150, 0)), 30, 2, 0),
    Course("VLLMKVCacheNearlyFull", "all blocks are in use",
           lambda course: course.replica(kv_cache=course.gauge(0.3, 1, 0.3)), 30, 9.5, 0.25),
    Course("VLLMPreemptions", "one preemption for two requests",
           lambda course: course.replica(preempted=course.counter(0, 2.5, 0)), 30, 11.25, 4),
    Course("VLLMErrorBudgetBurnFast", "half of the answers are 5xx, for 10 minutes",
           lambda course: _answers(course, 25), 10, 3, 4.75, "1h", _OBJECTIVE),
    Course("VLLMErrorBudgetBurnFast", "the same",
           lambda course: _answers(course, 25), 10, 2.25, 33.5, "6h", _OBJECTIVE),
    Course("VLLMErrorBudgetBurnSlow", "half of the answers are 5xx, for 30 minutes",
           lambda course: _answers(course, 25), 30, 17, 362, "3d", _OBJECTIVE, step=60),
    Course("VLLMOperatorDown", "the operator ends",
           lambda course: course.operator(
               **dict.fromkeys(("build_info", "leader"), course.gauge(1, "_", 1)),
               **{"code 200": f"0+30x{course.samples[0] - 1}"}),
           30, 9.75, 0),
    Course("VLLMOperatorNoLeader", "the only process gets no Lease",
           lambda course: course.operator(leader=course.gauge(1, 0, 1)), 30, 5, 0),
    Course("VLLMOperatorPassesFailing", "a server fails",
           lambda course: course.operator(servers_failing=course.gauge(0, 1, 0)), 30, 15, 0),
    Course("VLLMOperatorQueueStuck", "a server waits for 10 minutes",
           lambda course: course.operator(queue_age_seconds=course.gauge(0, 600, 0)), 30, 1, 0),
    Course("VLLMOperatorApiErrors", "a quarter of the calls end in 503",
           lambda course: course.operator(**{"code 503": course.counter(0, 10, 0)}), 40, 16.75, 3.25),
    Course("VLLMOperatorCredentialsRefused", "the API server answers 401",
           lambda course: course.operator(**{"code 401": course.counter(0, 5, 0)}), 30, 10.25, 4.75),
)  # fmt: skip
"""`fires` and `resolves` are what promtool computes from the rules, with samples and evaluations each 15 s."""
