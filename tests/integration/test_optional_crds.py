"""Optional CRDs: absent when the operator starts, installed later, removed again. Serving never depends on them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.helpers.alone import operator_alone
from tests.integration.servers import OPTIONAL_KINDS, Servers
from tools.harness.crds import install_monitoring_crds, remove_monitoring_crds
from tools.harness.operator_process import OperatorProcess

PROMISED_SECONDS = 60


@pytest.fixture(scope="module")
def plain() -> Iterator[tuple[Servers, OperatorProcess]]:
    """Start a cluster without the optional CRDs, and an operator for it."""
    with operator_alone() as alone, alone.kube.namespace("plain") as namespace:
        yield Servers(alone.kube, namespace), alone.process


def test_optional_crds_come_and_go(plain: tuple[Servers, OperatorProcess]) -> None:
    servers, process = plain
    servers.create("watched")
    servers.accepted("watched")
    assert servers.condition("watched", "MonitoringActive")["status"] == "False"
    assert servers.condition("watched", "MonitoringActive")["reason"] == "CRDNotInstalled"
    assert {"Deployment", "Service"} <= set(servers.children("watched"))
    pods = servers.child("Deployment", "watched")["spec"]["template"]

    install_monitoring_crds(servers.kube)
    began = time.monotonic()
    servers.kube.eventually(lambda: set(OPTIONAL_KINDS) <= set(servers.children("watched")), within=PROMISED_SECONDS)
    print(f"optional CRDs were picked up after {time.monotonic() - began:.1f} s")
    servers.kube.eventually(lambda: servers.condition("watched", "MonitoringActive")["status"] == "True", within=10)
    assert servers.child("Deployment", "watched")["spec"]["template"] == pods, "installing CRDs restarts no pod"

    servers.kube.delete("PodMonitor", "watched", servers.namespace)
    servers.kube.eventually(lambda: servers.find_child("PodMonitor", "watched") is not None, within=5)

    remove_monitoring_crds(servers.kube)
    servers.create("after")
    servers.accepted("after", within=PROMISED_SECONDS)
    servers.kube.eventually(
        lambda: servers.condition("watched", "MonitoringActive").get("reason") == "CRDNotInstalled",
        within=PROMISED_SECONDS,
    )
    assert process.alive()
    assert process.answers("/healthz")
    servers.patch("watched", {"replicas": 2})
    assert servers.child("Deployment", "watched")["spec"]["replicas"] == 2
