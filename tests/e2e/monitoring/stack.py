"""prometheus-operator, Alertmanager and Prometheus next to a cluster, each started when the one before has its part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.monitoring import generated
from tests.e2e.monitoring.alertmanager import alertmanager
from tests.e2e.monitoring.prometheus import Prometheus
from tools.harness.kube import Kube
from tools.harness.real_cluster import tool


@contextlib.contextmanager
def monitored(kube: Kube, receiver: str, folder: Path) -> Iterator[Prometheus]:
    """Run them for the length of the block.

    Args:
        kube: the cluster, with the CRDs of prometheus-operator.
        receiver: URL that the notices of Alertmanager go to.
        folder: for configurations, data and logs.
    """
    with generated.prometheus_operator(kube, folder / "operator.log", receiver):
        kube.eventually(lambda: generated.alertmanager_configuration(kube) is not None, within=generated.SYNC_SECONDS)
        configuration = generated.alertmanager_configuration(kube)
        assert configuration is not None
        with (
            alertmanager(Path(tool("tool", "alertmanager")), configuration, folder) as address,
            Prometheus(Path(tool("tool", "prometheus")), kube, folder, address).running() as process,
        ):
            yield process
