"""KEDA is asked for, and is not installed."""

from __future__ import annotations

from tests.helpers.alone import operator_alone
from tests.integration.servers import Servers
from tools.harness.crds import install_keda_crd

SCALING = {"maxReplicas": 2, "source": "keda", "keda": {"serverAddress": "http://prometheus:9090"}}


def test_missing_keda_is_named_until_it_is_installed() -> None:
    with operator_alone() as alone, alone.kube.namespace("keda") as namespace:
        servers = Servers(alone.kube, namespace)
        servers.create("asked", {"autoscaling": SCALING})

        def reason() -> str:
            found = servers.condition("asked", "AutoscalingActive")
            return f"{found.get('reason')} {found.get('message')}"

        alone.kube.eventually(lambda: "CRDNotInstalled" in reason() and "install KEDA" in reason(), within=30)
        install_keda_crd(alone.kube)
        alone.kube.eventually(lambda: alone.kube.must_get("ScaledObject", "asked", namespace), within=60)
        alone.kube.eventually(lambda: reason().startswith("Pending"), within=30)
