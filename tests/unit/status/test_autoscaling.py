"""AutoscalingActive: who scales, why it does not work, and the way out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.helpers.pods import condition, ready_pod
from tests.helpers.status_inputs import condition_of, conditions, inputs, status_of
from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.problem import Problem
from vllm_operator.api.replica_bounds import RaisedFloor
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.status.metrics_api_state import NOT_SERVED, SERVED, STARTING, MetricsApiState

OTHER = MetricsApiState("OtherMetricsAdapter", "APIService v1beta1.custom.metrics.k8s.io belongs to another one")
SINCE = "2026-03-02T08:00:00Z"


def scaling(**fields: Any) -> Autoscaling:
    return Autoscaling.model_validate({"maxReplicas": 4, **fields})


def active(*pods: Any, **known: Any) -> tuple[str, str, str]:
    """Return status, reason and message of the condition."""
    given = {"autoscaling": True, "scaling": scaling(), "metrics_api": SERVED, **known}
    status = status_of(inputs(*pods, **given))
    return (*condition_of(status, "AutoscalingActive"), conditions(status)["AutoscalingActive"]["message"])


def hpa(*entries: tuple[str, str, str, str]) -> dict[str, Any]:
    reported = [condition(kind, status, SINCE, reason, message) for kind, status, reason, message in entries]
    return {"status": {"conditions": reported}}


FAILED = hpa(("ScalingActive", "False", "FailedGetPodsMetric", "no metrics returned"))
WORKS = hpa(("ScalingActive", "True", "ValidMetricFound", "computed"))


def test_working_autoscaler_counts_whatever_serves_its_metrics() -> None:
    assert active(ready_pod(), autoscaler=WORKS, metrics_api=OTHER)[:2] == ("True", "ValidMetricFound")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (NOT_SERVED, ("False", "MetricsAPIDisabled")),
        (OTHER, ("False", "OtherMetricsAdapter")),
        (STARTING, ("Unknown", "MetricsAPIStarting")),
    ],
)
def test_metrics_api_that_is_not_served_is_the_cause(state: MetricsApiState, expected: tuple[str, str]) -> None:
    assert active(ready_pod(), autoscaler=FAILED, metrics_api=state)[:2] == expected


def test_replicas_without_metrics_are_named() -> None:
    status, reason, message = active(ready_pod(), autoscaler=FAILED)

    assert (status, reason) == ("False", "FailedGetPodsMetric")
    assert "--disable-log-stats" in message
    assert "no replica serves yet" in active(autoscaler=FAILED)[2]


def test_adapter_without_metrics_is_named_with_the_way_out() -> None:
    given = {"scaling": scaling(source="prometheus-adapter"), "metrics_api": NOT_SERVED, "autoscaler": FAILED}
    status, reason, message = active(ready_pod(), **given)

    assert (status, reason) == ("False", "FailedGetPodsMetric")
    assert message.startswith("no metrics returned: Prometheus or its adapter has no series of these pods")
    absent = hpa(("ScalingActive", "False", "FailedGetPodsMetric", "the server could not find the requested resource"))
    assert "install prometheus-adapter" in active(ready_pod(), **{**given, "autoscaler": absent})[2]
    silent = hpa(("ScalingActive", "False", "FailedGetPodsMetric", "the server is unable to handle the request"))
    ours = {**given, "metrics_api": SERVED}
    assert "the operator serves custom.metrics.k8s.io, so no adapter does" in active(ready_pod(), **ours)[2]
    assert "check that the adapter runs" in active(ready_pod(), **{**given, "autoscaler": silent})[2]


def test_second_autoscaler_is_named_with_the_way_out() -> None:
    body = hpa(("ScalingActive", "False", "AmbiguousSelector", "pods are controlled by multiple HPAs: [a keda-hpa-b]"))

    assert "Delete the other one" in active(ready_pod(), autoscaler=body)[2]


def test_sleeping_server_says_how_it_is_woken() -> None:
    given = {"asleep": True, "scaling": scaling(minReplicas=0)}
    status, reason, message = active(**given)

    assert (status, reason) == ("True", "Asleep")
    assert "--replicas=1" in message
    assert "vllm-operator.dev/wake" in message


def test_paused_scaling_is_reported() -> None:
    assert active(scaling=scaling(paused=True))[:2] == ("False", "Paused")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, ("True", "OperatorScales")),
        ({"paused": True}, ("False", "Paused")),
        ({"problems": (Problem("X", "y"),)}, ("False", "Refused")),
        ({"scaling_problem": "no load"}, ("False", "NoMetrics")),
    ],
)
def test_operator_scales(known: dict[str, Any], expected: tuple[str, str]) -> None:
    assert active(scaling=scaling(source="operator"), metrics_api=NOT_SERVED, **known)[:2] == expected


KEDA = scaling(source="keda", keda={"serverAddress": "http://prometheus:9090"})


def scaled_object(*entries: tuple[str, str, str, str]) -> dict[str, Any]:
    return {"metadata": {"uid": "so"}, **hpa(*entries)}


READY_OBJECT = scaled_object(("Ready", "True", "ScaledObjectReady", "ok"))
BROKEN_OBJECT = scaled_object(("Ready", "False", "TriggerError", "broken"))
FALLBACK_OBJECT = scaled_object(("Fallback", "True", "FallbackExists", "x"), ("Ready", "True", "a", "b"))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"missing_scalers": ("ScaledObject",)}, ("False", "CRDNotInstalled", "install KEDA")),
        ({"scaling_problems": (Problem("NameTaken", "taken"),)}, ("False", "NameTaken", "taken")),
        ({}, ("False", "Missing", "no ScaledObject exists for this server yet")),
        ({"paused": True}, ("False", "Missing", "when spec.paused is false")),
        ({"scaled_object": scaled_object()}, ("Unknown", "Pending", "does it run?")),
        (
            {"scaled_object": scaled_object(("Ready", "True", "ScaledObjectReady", "ok"))},
            ("True", "ScaledObjectReady", "ok"),
        ),
        (
            {
                "scaled_object": scaled_object(("Ready", "True", "ScaledObjectReady", "ok")),
                "keda_failure": "FailedGetExternalMetric: no server answers",
            },
            ("False", "FailedGetExternalMetric", "the HorizontalPodAutoscaler of KEDA cannot scale: no server answers"),
        ),
        (
            {"scaled_object": scaled_object(("Ready", "False", "TriggerError", "broken"))},
            ("False", "TriggerError", "broken"),
        ),
        (
            {
                "scaled_object": scaled_object(
                    ("Fallback", "True", "FallbackExists", "x"), ("Ready", "True", "a", "b")
                ),
                "lookup_results": {"so": Diagnosis("KEDAScalerFailed", "prometheus answered 401")},
            },
            ("False", "Fallback", "prometheus answered 401"),
        ),
    ],
)
def test_keda_scales(known: dict[str, Any], expected: tuple[str, str, str]) -> None:
    status, reason, message = active(ready_pod(), scaling=KEDA, metrics_api=NOT_SERVED, **known)

    assert (status, reason) == expected[:2]
    assert expected[2] in message


def test_autoscaler_of_other_people_is_named_whoever_scales() -> None:
    for source in ("builtin", "operator", "prometheus-adapter"):
        known = {"scaling": scaling(source=source), "other_autoscalers": ("HorizontalPodAutoscaler web",)}
        status, reason, message = active(ready_pod(), autoscaler=WORKS, **known)

        assert (status, reason) == ("False", "OtherAutoscaler")
        assert message.startswith("HorizontalPodAutoscaler web: it scales the same pods")
        assert "Delete it, or remove spec.autoscaling" in message


def test_raised_floor_is_explained() -> None:
    floor = RaisedFloor(4, datetime(2026, 3, 2, 8, 0, tzinfo=UTC), "195 requests at 1 replicas")
    status, reason, message = active(ready_pod(), autoscaler=WORKS, floor=floor)

    assert (status, reason) == ("True", "ValidMetricFound")
    assert "fastPath keeps at least 4 replicas since 2026-03-02T08:00:00Z, since there were 195 requests" in message
    assert "since there were" not in active(ready_pod(), autoscaler=WORKS, floor=replace(floor, cause=""))[2]
