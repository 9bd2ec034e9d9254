"""The values of a spec that are kept between two generations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import UID, server
from vllm_operator.desired.server_summary import ServerSummary, summarize
from vllm_operator.kube.kinds import MONITORING_KINDS


def summary(**fields: Any) -> ServerSummary:
    return summarize(server(**fields), MONITORING_KINDS)


def test_smallest_server_has_the_defaults() -> None:
    assert summary() == ServerSummary(
        namespace="llm",
        name="mistral",
        uid=UID,
        replicas=1,
        downloads=True,
        endpoint="http://mistral.llm.svc",
        monitoring=True,
        monitoring_children=("PodMonitor", "PrometheusRule"),
    )


CHANGES: list[tuple[dict[str, Any], str, Any]] = [
    ({"paused": True}, "paused", True),
    ({"replicas": 3}, "replicas", 3),
    ({"autoscaling": {"maxReplicas": 4}}, "replicas", None),
    ({"autoscaling": {"maxReplicas": 4}}, "autoscaling", True),
    ({"cache": {"existingClaim": "models"}}, "cache_claim", "models"),
    ({"cache": {"size": "1Gi", "perReplica": True}}, "cache_claim", None),
    ({"cache": {"volume": {"hostPath": {"path": "/m"}}}}, "cache_claim", None),
    ({"model": {"uri": "pvc://models/a"}}, "downloads", False),
    ({"health": {"probeIntervalSeconds": 5}}, "probe_interval", 5),
    ({"health": {"syntheticCompletion": "Always"}}, "synthetic_completion", "Always"),
    ({"health": {"restartStalled": True}}, "restart_stalled", True),
    ({"service": {"port": 8080}}, "endpoint", "http://mistral.llm.svc:8080"),
]


@pytest.mark.parametrize(("fields", "name", "value"), CHANGES, ids=[row[1] for row in CHANGES])
def test_value_follows_the_spec(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(summary(**fields), name) == value


@pytest.mark.parametrize(
    ("monitoring", "kinds", "wanted", "missing"),
    [
        ({"scrape": "none", "alerts": {"enabled": False}}, MONITORING_KINDS, False, ()),
        ({"scrape": "none", "alerts": {"enabled": True}}, frozenset(), True, ("PrometheusRule",)),
        ({"scrape": "podMonitor", "alerts": {"enabled": False}}, frozenset(), True, ("PodMonitor",)),
        ({"scrape": "auto", "alerts": {"enabled": False}}, frozenset(), True, ()),
    ],
)
def test_monitoring_names_the_missing_crds(
    monitoring: dict[str, Any], kinds: frozenset[str], wanted: bool, missing: tuple[str, ...]
) -> None:
    found = summarize(server(monitoring=monitoring), kinds)

    assert (found.monitoring, found.missing_crds) == (wanted, missing)


def test_key_is_namespace_and_name() -> None:
    assert summary().key == "llm/mistral"
