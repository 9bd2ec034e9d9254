"""One namespace with servers in each state, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers.plugin import plugin
from tests.integration.plugin.world import Run, servers_in_each_state
from tests.integration.servers import Servers
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess


@pytest.fixture(scope="package")
def world(kube: Kube, operator_session: OperatorProcess) -> Iterator[Servers]:
    """Servers in each state: serving, crashed, refused, with an autoscaler that has no metrics."""
    with kube.namespace("plugin") as name:
        servers = Servers(kube, name)
        with servers_in_each_state(servers):
            yield servers


@pytest.fixture(scope="package")
def run(plane: Plane, world: Servers) -> Run:
    """Run the plugin in the namespace of the world."""
    return lambda *words, **options: plugin(
        *words, "-n", world.namespace, "--kubeconfig", str(plane.kubeconfig), **options
    )


@pytest.fixture(scope="package")
def powerless(plane: Plane, world: Servers) -> Path:
    """A kubeconfig of a service account that may do nothing."""
    kube = world.kube
    kube.kubectl("-n", world.namespace, "create", "serviceaccount", "powerless")
    token = kube.kubectl("-n", world.namespace, "create", "token", "powerless").stdout.strip()
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = plane.folder / "powerless.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path
