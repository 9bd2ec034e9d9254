from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.check_subjects import subject
from vllm_operator.cli.checks import availability

SHARED = {"size": "10Gi", "accessModes": ["ReadWriteMany"]}


@pytest.mark.parametrize(
    ("spec", "status", "level"),
    [
        ({"replicas": 2}, None, "pass"),
        ({"replicas": 1}, None, "warn"),
        ({"autoscaling": {"minReplicas": 2, "maxReplicas": 3}}, None, "pass"),
        ({"autoscaling": {"maxReplicas": 3}}, None, "warn"),
        ({"replicas": 2}, {"healthyReplicas": 2}, "pass"),
        ({"replicas": 2}, {"healthyReplicas": 1}, "fail"),
    ],
)
def test_replicas(spec: dict[str, Any], status: dict[str, Any] | None, level: str) -> None:
    assert availability.replicas(subject(spec, status=status)).level == level


def test_missing_replicas_have_their_cause() -> None:
    result = availability.replicas(
        subject({"replicas": 1}, status={"healthyReplicas": 0, "message": "no \x1b[2Jmemory"})
    )
    assert result.evidence == "replicas is 1; 0 serve now: no memory"


def test_probes_of_the_rendered_container_are_seen() -> None:
    assert availability.probes(subject()).level == "pass"
    without = {"podTemplate": {"spec": {"containers": [{"name": "vllm", "livenessProbe": None}]}}}
    result = availability.probes(subject(without))
    assert result.level == "fail"
    assert "livenessProbe" in result.evidence
    assert availability.probes(subject({}, objects={})).level == "unknown"


def test_load_balancing_matters_from_two_replicas_on() -> None:
    assert availability.load_balancing(subject()).level == "n/a"
    assert availability.load_balancing(subject({"replicas": 2})).level == "warn"
    pinned = {"replicas": 2, "service": {"spec": {"sessionAffinity": "ClientIP"}}}
    assert "ClientIP" in availability.load_balancing(subject(pinned)).evidence


@pytest.mark.parametrize(
    ("engine", "active", "level"),
    [
        ({}, None, "pass"),
        ({}, "True", "pass"),
        ({}, "False", "fail"),
        ({"extraArgs": ["--disable-log-stats"]}, None, "fail"),
    ],
)
def test_autoscaling(engine: dict[str, Any], active: str | None, level: str) -> None:
    status = {"conditions": [{"type": "AutoscalingActive", "status": active, "message": "m"}]} if active else None
    spec = {"engine": engine, "autoscaling": {"maxReplicas": 3, "targetKVCacheUsage": 0.8}}
    result = availability.autoscaling(subject(spec, status=status))
    assert result.level == level


def test_no_autoscaler_is_to_be_decided() -> None:
    assert availability.autoscaling(subject()).level == "warn"


@pytest.mark.parametrize(
    ("spec", "level"),
    [
        ({}, "warn"),
        ({"cache": SHARED}, "pass"),
        ({"cache": {"existingClaim": "models"}}, "pass"),
        ({"cache": {"size": "10Gi", "perReplica": True}}, "warn"),
        ({"model": {"uri": "file:///models/x"}}, "pass"),
        ({"model": {"uri": "pvc://claim/x"}}, "pass"),
    ],
)
def test_model_cache(spec: dict[str, Any], level: str) -> None:
    assert availability.model_cache(subject(spec)).level == level


def test_unbound_cache_fails() -> None:
    status = {"conditions": [{"type": "CacheReady", "status": "False", "message": "not bound"}]}
    result = availability.model_cache(subject({"cache": SHARED}, status=status))
    assert (result.level, "not bound" in result.evidence) == ("fail", True)
