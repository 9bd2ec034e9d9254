"""Checks of `spec.autoscaling`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.checks import spec_problems, spec_warnings

POLICY = {"type": "Pods", "value": 2, "periodSeconds": 60}
PROMETHEUS = {"serverAddress": "http://prometheus:9090"}


def scaled(engine: dict[str, Any] | None = None, **fields: Any) -> Any:
    return spec(autoscaling={"maxReplicas": 4, **fields}, engine=engine or {})


@pytest.mark.parametrize(
    ("behavior", "words"),
    [
        ({"scaleUp": {"selectPolicy": "Disabled", "policies": [POLICY]}}, "scaleUp: selectPolicy: Disabled"),
        ({"scaleUp": {"selectPolicy": "Disabled"}, "scaleDown": {"selectPolicy": "Disabled"}}, "autoscaling.paused"),
    ],
)
def test_contradictory_behavior_is_refused(behavior: dict[str, Any], words: str) -> None:
    (problem,) = spec_problems(scaled(behavior=behavior))

    assert problem.reason == "ContradictoryBehavior"
    assert words in problem.message


@pytest.mark.parametrize(
    "behavior", [None, {}, {"scaleDown": {"selectPolicy": "Disabled"}}, {"scaleUp": {"policies": [POLICY]}}]
)
def test_consistent_behavior_is_accepted(behavior: Any) -> None:
    assert spec_problems(scaled(behavior=behavior)) == ()


def test_target_at_the_limit_of_the_engine_is_refused() -> None:
    (problem,) = spec_problems(scaled({"extraArgs": ["--max-num-seqs=50"]}, targetRunningRequests=50))

    assert problem.reason == "UnreachableTarget"


def test_hidden_metrics_are_named() -> None:
    warnings = spec_warnings(scaled({"extraArgs": ["--disable-log-stats"]}))

    assert any("--disable-log-stats hides the load" in warning for warning in warnings)


def test_fields_that_count_for_nothing_are_named() -> None:
    (keda,) = spec_warnings(scaled(keda=PROMETHEUS))
    (idle,) = spec_warnings(scaled(idleSeconds=60))

    assert "set source: keda, or remove keda" in keda
    assert "set minReplicas: 0, or remove idleSeconds" in idle
    assert spec_warnings(scaled(idleSeconds=60, minReplicas=0)) == ()


@pytest.mark.parametrize("keda", [None, {}, {"triggers": []}])
def test_keda_without_triggers_is_refused(keda: Any) -> None:
    (problem,) = spec_problems(scaled(source="keda", **({} if keda is None else {"keda": keda})))

    assert problem.reason == "NoTriggers"
    assert "keda.serverAddress" in problem.message


def test_keda_that_cannot_wake_is_named() -> None:
    asleep = {"source": "keda", "minReplicas": 0, "keda": PROMETHEUS}

    assert any("cannot wake" in warning for warning in spec_warnings(scaled(**asleep)))
    asleep["keda"] = {**PROMETHEUS, "triggers": [{"type": "cron"}]}
    assert not any("cannot wake" in warning for warning in spec_warnings(scaled(**asleep)))
    assert not any("cannot wake" in warning for warning in spec_warnings(spec()))


WINDOW = {"timeZone": "Europe/Berlin", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timeZone": "Mars/Olympus"}, 'spec.autoscaling.schedule[1].timeZone: "Mars/Olympus" is no time zone'),
        ({"start": "0 25 * * *"}, 'spec.autoscaling.schedule[1].start: "0 25 * * *" is no cron expression'),
        ({"end": "0 0 30 2 *"}, "spec.autoscaling.schedule[1].end:"),
        ({"start": "0 0 * 2 MON#5"}, 'spec.autoscaling.schedule[1].start: "0 0 * 2 MON#5" never comes'),
    ],
)
def test_schedule_that_cannot_be_read_is_refused(change: dict[str, Any], words: str) -> None:
    (problem,) = spec_problems(scaled(schedule=[WINDOW, {**WINDOW, **change}]))

    assert problem.reason == "InvalidSchedule"
    assert problem.message.startswith(words)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"minReplicas": 5}, "spec.autoscaling.minReplicas: 5 exceeds maxReplicas (4)"),
        ({"schedule": [WINDOW, {**WINDOW, "minReplicas": 6}]}, "spec.autoscaling.schedule[1].minReplicas: 6 exceeds"),
        ({"minReplicas": 3, "schedule": [{**WINDOW, "minReplicas": None, "maxReplicas": 2}]}, "schedule[0]"),
    ],
)
def test_bounds_that_cross_are_refused(fields: dict[str, Any], path: str) -> None:
    (problem,) = spec_problems(scaled(**fields))

    assert problem.reason == "InvalidBounds"
    assert path in problem.message


def test_schedule_that_fits_is_accepted() -> None:
    given = scaled(schedule=[WINDOW, {**WINDOW, "minReplicas": 6, "maxReplicas": 8}], fastPath=True)

    assert spec_problems(given) == ()


def test_fast_path_that_cannot_work_is_refused() -> None:
    (problem,) = spec_problems(scaled(source="keda", keda=PROMETHEUS, fastPath=True))
    assert (problem.reason, "spec.autoscaling.fastPath" in problem.message) == ("FastPathImpossible", True)

    (problem,) = spec_problems(scaled(fastPath=True, behavior={"scaleUp": {"selectPolicy": "Disabled"}}))
    assert (problem.reason, "spec.autoscaling.fastPath" in problem.message) == ("ContradictoryBehavior", True)


def test_target_that_most_gpus_cannot_reach_is_named() -> None:
    assert any("set engine.maxNumSeqs above it" in note for note in spec_warnings(scaled(targetRunningRequests=256)))
    assert not any("maxNumSeqs" in note for note in spec_warnings(scaled(targetRunningRequests=255)))
    enough = scaled({"maxNumSeqs": 512}, targetRunningRequests=256)
    assert not any("maxNumSeqs" in note for note in spec_warnings(enough))
