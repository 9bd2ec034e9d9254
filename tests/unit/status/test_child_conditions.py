"""Conditions of the claim, the autoscaler and monitoring."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.pods import (
    condition,
    ready_pod,
    scheduling_pod,
)
from tests.helpers.status_inputs import condition_of, conditions, inputs, status_of

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
