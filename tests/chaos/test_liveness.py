"""A pass that does not end, in a real process whose bound is seconds instead of minutes."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tests.chaos.bad_behaviour import Hanging
from tests.chaos.proxy import Fault, Proxy
from tests.integration.servers import Servers
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess

BOUND_SECONDS = 4.0
"""Far below the 20 s after which a call ends by itself."""

LAUNCH = f"""
from vllm_operator.controller import liveness
liveness.LONGEST_RECONCILE_SECONDS = {BOUND_SECONDS}
from vllm_operator.__main__ import main
main()
"""
"""No setting: nobody who runs the operator has a reason to choose another bound."""


class Impatient(OperatorProcess):
    """The operator, which gives a pass seconds only."""

    def start(self) -> None:
        arguments = ["run", "--log-format", "text", "--listen", f"127.0.0.1:{self.port}", *self.arguments]
        self.launch([sys.executable, "-c", LAUNCH, *arguments])

    def health(self) -> tuple[int, str]:
        """Return the answer that the kubelet gets: HTTP status and text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def operator(kube: Kube, plane: Plane, proxy: Proxy) -> Iterator[tuple[Impatient, Servers]]:
    with kube.namespace("liveness") as namespace:
        log = plane.folder / "logs" / f"{namespace}.log"
        process = Impatient(proxy.kubeconfig, log, ["--namespace", namespace])
        process.start()
        try:
            process.wait_ready()
            yield process, Servers(kube, namespace)
            assert process.alive(), process.tail()
        finally:
            process.kill()


def test_healthz_fails_while_a_reconcile_is_stuck(
    kube: Kube, proxy: Proxy, operator: tuple[Impatient, Servers]
) -> None:
    process, servers = operator
    servers.create("before")
    assert process.health() == (200, "ok\n")
    proxy.fault = Hanging(active=True)
    servers.create("stuck", settled=False)

    def failed() -> str:
        status, text = process.health()
        assert status == 500, text
        return text

    message = kube.eventually(failed, within=15)
    assert message.startswith("the reconcile of a server has not ended for "), message
    assert float(message.split()[-2]) >= BOUND_SECONDS
    assert process.answers("/readyz"), "its caches are full, whatever the API server does"
    proxy.fault = Fault()
    proxy.cut()
    kube.eventually(lambda: process.health() == (200, "ok\n"), within=10)
    servers.settled("stuck")
