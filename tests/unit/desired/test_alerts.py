"""Each alert fires when it should and stays silent when it should, according to the real promtool."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.helpers.monitored_servers import rules, server
from tests.helpers.replica_series import GONE_AFTER_10_MINUTES, Replica, alternating, until
from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.alerts import LOAD_ALERTS, alert_subject, no_replica_available

Series = list[dict[str, str]]

ONE = Replica()
TWO = Replica(pod="mistral-5f9c6d7b8-zz2k9")
SECOND_ENGINE = Replica(engine=1)
SECOND_JOB = Replica(job="kubernetes-pods")

STUCK = {"generation": "1000x240", "prompt": "500x240", "kv_cache": "0.3x240"}
STUCK_FOR_4_MINUTES = {"generation": "0+100x80 8000x15 8000+100x140", "prompt": "0+50x80 4000x15 4000+50x140"}
SLOW = {"within_20s": "0x240", "within_30s": "0x240"}
BETWEEN_20_AND_30_S = {"within_20s": "0x240"}
IDLE = (
    dict.fromkeys(("finished", "ok", "within_20s", "within_30s", "within_40s"), "7x240") | STUCK | {"running": "0x240"}
)


def monitoring(**limits: Any) -> dict[str, Any]:
    """Return a spec with these limits."""
    return {"monitoring": {"alerts": limits}}


@dataclass(frozen=True)
class Case:
    """A course of events, the alert that it is about, and whether this alert fires (and only `others` besides)."""

    alert: str
    story: str
    series: Series
    fires: int = 0
    at: str = "30m"
    spec: dict[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def expected(self) -> dict[str, int]:
        """Return the firing alerts with the number of their instances."""
        return ({self.alert: self.fires} if self.fires else {}) | dict.fromkeys(self.others, 1)


CASES = [
    Case("VLLMHighLatency", "the slowest take 40 s", ONE.series(**SLOW), 1),
    Case("VLLMHighLatency", "the slowest take less than 30 s", ONE.series(**BETWEEN_20_AND_30_S)),
    Case(
        "VLLMHighLatency",
        "the limit is 25 s",
        ONE.series(**BETWEEN_20_AND_30_S),
        1,
        spec=monitoring(p99LatencySeconds=25),
    ),
    Case("VLLMHighLatency", "nobody asks", ONE.series(**IDLE)),
    Case("VLLMHighLatency", "only for four minutes", ONE.series(**SLOW), at="4m"),
    Case("VLLMQueueBacklog", "101 wait", ONE.series(waiting="101x240"), 1),
    Case("VLLMQueueBacklog", "100 wait", ONE.series(waiting="100x240")),
    Case("VLLMQueueBacklog", "the limit is 5", ONE.series(waiting="6x240"), 1, spec=monitoring(queueLength=5)),
    Case("VLLMQueueBacklog", "only for a minute", ONE.series(waiting="0x116 500x4 0x120")),
    Case("VLLMQueueBacklog", "60 at each of two replicas", ONE.series(waiting="60x240") + TWO.series(waiting="60x240")),
    Case("VLLMQueueBacklog", "all at one of two", ONE.series(waiting="110x240") + TWO.series(), 1),
    Case("VLLMQueueBacklog", "two engines", ONE.series(waiting="60x240") + SECOND_ENGINE.series(waiting="60x240"), 1),
    Case("VLLMQueueBacklog", "scraped twice", ONE.series(waiting="60x240") + SECOND_JOB.series(waiting="60x240")),
    Case("VLLMKVCacheNearlyFull", "96 % in use", ONE.series(kv_cache="0.96x240"), 1),
    Case("VLLMKVCacheNearlyFull", "94 % in use", ONE.series(kv_cache="0.94x240")),
    Case(
        "VLLMKVCacheNearlyFull",
        "the limit is 80 %",
        ONE.series(kv_cache="0.9x240"),
        1,
        spec=monitoring(kvCacheUsage=0.8),
    ),
    Case("VLLMKVCacheNearlyFull", "hovers about the limit", ONE.series(kv_cache=alternating(0.94, 0.99)), 1),
    Case("VLLMKVCacheNearlyFull", "both replicas", ONE.series(kv_cache="1x240") + TWO.series(kv_cache="1x240"), 2),
    Case("VLLMHighErrorRate", "one in six fails", ONE.series(failed="0+1x240"), 1),
    Case("VLLMHighErrorRate", "one in 51 fails", ONE.series(failed="0+1x240", ok="0+50x240")),
    Case(
        "VLLMHighErrorRate",
        "the limit is 1 %",
        ONE.series(failed="0+1x240", ok="0+50x240"),
        1,
        spec=monitoring(errorRatio=0.01),
    ),
    Case("VLLMHighErrorRate", "clients send nonsense", ONE.series(refused="0+50x240")),
    Case("VLLMHighErrorRate", "nobody asks", ONE.series(**IDLE)),
    Case("VLLMHighErrorRate", "the one request of the night fails", ONE.series(**{**IDLE, "failed": "0x110 1x130"})),
    Case("VLLMHighErrorRate", "probes do not hide it", ONE.series(failed="0+1x240", listed="0+500x240"), 1),
    Case("VLLMHighErrorRate", "50 fail at once, the first ones ever", ONE.series(failed="_x112 50x128"), 1),
    Case("VLLMHighErrorRate", "only three fail", ONE.series(ok="7x240", failed="0x110 1 2 3x128")),
    Case("VLLMPreemptions", "one for five requests", ONE.series(preempted="0+1x240"), 1),
    Case("VLLMPreemptions", "one for fifty requests", ONE.series(preempted="0+1x240", finished="0+50x240")),
    Case("VLLMPreemptions", "so many that none finishes", ONE.series(preempted="0+1x240", finished="7x240"), 1),
    Case("VLLMPreemptions", "a burst of a minute", ONE.series(preempted="0x110 0+5x4 20x126")),
    Case("VLLMReplicaDown", "never came up", ONE.series() + TWO.loading(), 1, at="41m"),
    Case("VLLMReplicaDown", "still loads", ONE.series() + TWO.loading(), at="34m"),
    Case(
        "VLLMReplicaDown",
        "a start may take a minute",
        ONE.series() + TWO.loading(),
        1,
        "7m",
        {"health": {"startupTimeoutSeconds": 60}},
    ),
    Case("VLLMReplicaDown", "only its sidecar is down", ONE.series() + SECOND_JOB.loading(), at="59m"),
    Case(
        "VLLMReplicaDown",
        "drained and gone",
        ONE.series() + TWO.series(**{**GONE_AFTER_10_MINUTES, "up": until(10, "1")}),
        at="59m",
    ),
    Case("VLLMNoReplicaAvailable", "the only one died", ONE.series(**GONE_AFTER_10_MINUTES), 1, at="16m"),
    Case("VLLMNoReplicaAvailable", "died four minutes ago", ONE.series(**GONE_AFTER_10_MINUTES), at="14m"),
    Case("VLLMNoReplicaAvailable", "one of two died", ONE.series(**GONE_AFTER_10_MINUTES) + TWO.series(), at="40m"),
    Case(
        "VLLMNoReplicaAvailable",
        "dead for long",
        ONE.series(**GONE_AFTER_10_MINUTES),
        1,
        "59m",
        others=("VLLMReplicaDown",),
    ),
    Case(
        "VLLMNoReplicaAvailable",
        "no pod at all, for long",
        ONE.series(**{**GONE_AFTER_10_MINUTES, "up": until(10, "1")}),
        1,
        "59m",
    ),
    Case("VLLMNoReplicaAvailable", "first start, within its budget", ONE.loading(), at="34m"),
    Case("VLLMNoReplicaAvailable", "first start, too long", ONE.loading(), 1, at="41m", others=("VLLMReplicaDown",)),
    Case("VLLMNoReplicaAvailable", "no node has a GPU", [], 1, at="41m"),
    Case("VLLMNoReplicaAvailable", "scaled to nothing", [], at="59m", spec={"replicas": 0}),
    Case("VLLMNoReplicaAvailable", "nobody is to scrape it", [], at="59m", spec={"monitoring": {"scrape": "none"}}),
    Case("VLLMEngineStalled", "stuck with running requests", ONE.series(**STUCK), 1),
    Case("VLLMEngineStalled", "stuck with waiting ones", ONE.series(**STUCK, running="0x240", waiting="1x240"), 1),
    Case("VLLMEngineStalled", "one of two engines", ONE.series() + SECOND_ENGINE.series(**STUCK), 1),
    Case("VLLMEngineStalled", "scraped twice", ONE.series(**STUCK) + SECOND_JOB.series(**STUCK), 1),
    Case(
        "VLLMEngineStalled",
        "a long prompt fills the cache",
        ONE.series(**{**STUCK, "kv_cache": "0.1+0.001x240"}),
    ),
    Case("VLLMEngineStalled", "only prompts, as in embedding", ONE.series(**{**STUCK, "prompt": "0+50x240"})),
    Case("VLLMEngineStalled", "idle", ONE.series(**IDLE)),
    Case("VLLMEngineStalled", "stalled while idle, and clients give up", ONE.series(**STUCK, running="0x240"), 1),
    Case("VLLMEngineStalled", "idle, and clients send nonsense", ONE.series(**{**IDLE, "refused": "0+50x240"})),
    Case("VLLMEngineStalled", "asleep, and a request waits", ONE.series(**STUCK) + ONE.asleep()),
    Case(
        "VLLMEngineStalled",
        "stuck for four minutes",
        ONE.series(**STUCK_FOR_4_MINUTES, kv_cache="0.3x240"),
        at="25m",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.story}")
def test_alert(case: Case, assert_firing: Callable[..., None]) -> None:
    assert_firing(case.series, case.at, [(server(**case.spec), case.expected)])


def test_every_alert_has_a_story_for_firing_and_one_for_silence() -> None:
    alerts = {alert(alert_subject(server())).name for alert in (*LOAD_ALERTS, no_replica_available)}
    assert {case.alert for case in CASES if case.fires} == alerts
    assert {case.alert for case in CASES if not case.fires} == alerts


@pytest.mark.parametrize("at", ["10m", "30m", "59m"])
def test_healthy_server_raises_nothing(at: str, assert_firing: Callable[..., None]) -> None:
    assert_firing(ONE.series() + TWO.series(), at, [(server(), {})])


NEIGHBOURS = (("mistral-large", "llm"), ("mis", "llm"), ("mistral", "llm-test"))
"""A longer name, a shorter one, and the same in another namespace."""


def moved(series: Series, name: str, namespace: str) -> Series:
    """Return the same series for another server."""
    swap = (('pod="mistral-', f'pod="{name}-'), ('namespace="llm"', f'namespace="{namespace}"'))
    return [{**one, "series": one["series"].replace(*swap[0]).replace(*swap[1])} for one in series]


FIRST_FIRING = list({case.alert: case for case in reversed(CASES) if case.fires and case.series}.values())


@pytest.mark.parametrize("case", FIRST_FIRING, ids=lambda case: f"{case.alert}: {case.story}")
def test_neighbours_fire_their_own_alerts_only(case: Case, assert_firing: Callable[..., None]) -> None:
    series = ONE.series()
    expected: list[tuple[VLLMServer, dict[str, int]]] = [(server(), {})]
    for neighbour in NEIGHBOURS:
        series += moved(case.series, *neighbour)
        expected.append((server(*neighbour), case.expected))
    assert_firing(series, case.at, expected)


def test_texts_have_the_value_the_limit_and_the_runbook(run_rules: Callable[..., None]) -> None:
    expected = {
        "exp_labels": {"severity": "critical", "namespace": "llm", "vllmserver": "mistral", "team": "{{ $value }} 😀"},
        "exp_annotations": {
            "summary": "VLLMServer llm/mistral: requests fail",
            "description": "16.67% of the requests end in a server error (limit 5%).",
            "runbook_url": "https://wiki.example/VLLMHighErrorRate",
        },
    }
    alert = {"eval_time": "30m", "alertname": "VLLMHighErrorRate", "exp_alerts": [expected]}
    labelled = server(**monitoring(labels={"team": "{{ $value }} 😀"}))
    run_rules(
        rules(labelled, runbooks="https://wiki.example/%s"),
        {"input_series": ONE.series(failed="0+1x240"), "alert_rule_test": [alert]},
    )
