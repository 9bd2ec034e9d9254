"""Conditions of the claim, the autoscaler and monitoring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.pods import (
    condition,
    deployment,
    ready_pod,
    scheduling_pod,
)
from tests.helpers.status_inputs import MISSING_SECRET, condition_of, conditions, inputs, status_of
from vllm_operator.api.problem import Problem

NOW_STAMP = "2026-03-02T09:00:00Z"


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (None, ("False", "ClaimMissing")),
        ({"status": {"phase": "Pending"}}, ("False", "ClaimPending")),
        ({"status": {"phase": "Lost"}}, ("False", "ClaimLost")),
        ({"metadata": {"deletionTimestamp": NOW_STAMP}, "status": {"phase": "Bound"}}, ("False", "ClaimEnds")),
        ({"status": {"phase": "Bound"}}, ("True", "Bound")),
    ],
)
def test_cache_is_ready_when_its_claim_is_bound(claim: Any, expected: tuple[str, str]):
    assert (
        condition_of(status_of(inputs(ready_pod(), cache_claim="mistral-cache", claim=claim)), "CacheReady") == expected
    )


def test_bound_cache_is_filling_until_a_replica_served_once():
    known = {"cache_claim": "mistral-cache", "claim": {"status": {"phase": "Bound"}}}
    loading = inputs(scheduling_pod(), **known)
    assert condition_of(status_of(loading), "CacheReady") == ("False", "Filling")
    served = status_of(inputs(ready_pod(), **known))
    assert condition_of(status_of(inputs(scheduling_pod(), previous=served, **known)), "CacheReady") == (
        "True",
        "Bound",
    )


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            [("AbleToScale", "True", "ReadyForNewScale"), ("ScalingActive", "True", "ValidMetricFound")],
            ("True", "ValidMetricFound"),
        ),
        ([("ScalingActive", "False", "FailedGetPodsMetric")], ("False", "FailedGetPodsMetric")),
        ([("AbleToScale", "False", "FailedGetScale"), ("ScalingActive", "True", "X")], ("False", "FailedGetScale")),
        ([], ("Unknown", "Pending")),
    ],
)
def test_autoscaling_carries_the_autoscalers_own_reason(entries: Any, expected: tuple[str, str]):
    reported = [condition(kind, status, "", reason, f"message of {reason}") for kind, status, reason in entries]
    status = status_of(inputs(ready_pod(), autoscaling=True, autoscaler={"status": {"conditions": reported}}))
    assert condition_of(status, "AutoscalingActive") == expected
    if entries:
        assert conditions(status)["AutoscalingActive"]["message"] == f"message of {expected[1]}"


def test_missing_monitoring_crd_is_named_and_does_not_affect_ready():
    status = status_of(inputs(ready_pod(), monitoring=True, missing_crds=("podmonitors.monitoring.coreos.com",)))
    assert condition_of(status, "MonitoringActive") == ("False", "CRDNotInstalled")
    assert "podmonitors.monitoring.coreos.com" in conditions(status)["MonitoringActive"]["message"]
    assert condition_of(status, "Ready") == ("True", "Serving")


BOTH = {"monitoring": True, "monitoring_children": ("PodMonitor", "PrometheusRule")}
OWN = Problem("NameTaken", "metadata.name: a PodMonitor named mistral exists and is not this server's")


def annotated(wanted: int) -> dict[str, Any]:
    body = deployment(wanted)
    body["spec"]["template"] = {"metadata": {"annotations": {"prometheus.io/scrape": "true"}}}
    return body


@pytest.mark.parametrize(
    ("changes", "standing", "expected"),
    [
        (BOTH, {"PodMonitor", "PrometheusRule"}, ("True", "Configured", "scraping and alerts are configured")),
        (BOTH, {"PodMonitor"}, ("False", "Missing", "no PrometheusRule exists for this server yet")),
        (
            {**BOTH, "problems": (MISSING_SECRET,)},
            set(),
            (
                "False",
                "Missing",
                "no PodMonitor and no PrometheusRule exists for this server: "
                "the operator creates it when the spec is accepted",
            ),
        ),
        (
            {**BOTH, "paused": True},
            {"PrometheusRule"},
            (
                "False",
                "Missing",
                "no PodMonitor exists for this server: the operator creates it when spec.paused is false",
            ),
        ),
        (
            {**BOTH, "paused": True, "pending": ("PrometheusRule",)},
            {"PodMonitor", "PrometheusRule"},
            ("False", "Paused", "PrometheusRule: the latest spec is not carried out until spec.paused is false"),
        ),
        (
            {**BOTH, "monitoring_problems": (OWN,)},
            {"PrometheusRule"},
            ("False", "NameTaken", f"{OWN.message}; serving is not affected"),
        ),
        (
            {"monitoring": True, "monitoring_children": ("PrometheusRule",)},
            {"PrometheusRule"},
            ("True", "Configured", "alerts are configured"),
        ),
        (
            {"monitoring": True, "scrape_annotations": True},
            set(),
            ("False", "Missing", "no Deployment whose pods have the scrape annotations exists for this server yet"),
        ),
        (
            {"monitoring": True, "scrape_annotations": True, "deployment": annotated(1)},
            set(),
            ("True", "Configured", "scraping is configured"),
        ),
    ],
)
def test_monitoring_is_active_when_its_objects_stand(
    changes: dict[str, Any], standing: set[str], expected: tuple[str, str, str]
) -> None:
    given = inputs(ready_pod(), **changes)
    given = replace(given, snapshot=replace(given.snapshot, standing=frozenset(standing)))
    entry = conditions(status_of(given))["MonitoringActive"]
    assert (entry["status"], entry["reason"], entry["message"]) == expected


def test_autoscaler_that_is_being_deleted_is_not_active() -> None:
    scaler = {
        "metadata": {"deletionTimestamp": NOW_STAMP},
        "status": {"conditions": [condition("ScalingActive", "True", "", "ValidMetricFound")]},
    }
    status = status_of(inputs(ready_pod(), autoscaling=True, autoscaler=scaler))
    assert condition_of(status, "AutoscalingActive") == ("False", "Terminating")
