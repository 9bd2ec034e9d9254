"""Check that an operator endures a fault: its servers change during the fault, and soon reach their desired state."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.chaos.harness import Kubelet, Stage
from tests.chaos.proxy import Call, Fault, Proxy
from tests.chaos.scenarios import FULL, SMALL
from tests.integration.servers import Servers
from tools.harness.control_plane import Plane
from tools.harness.kube import KIND, Kube
from tools.harness.operator_process import OperatorProcess

RECOVERY_SECONDS = 30.0
CALLS_A_SECOND = 2.0
SERVERS = ("kept", "changed", "gone", "again", "new")


Operator = Callable[[Path, Sequence[str]], OperatorProcess]
"""Makes an operator of the file of its log and its arguments."""


@contextmanager
def stage(kube: Kube, plane: Plane, proxy: Proxy, fault: Fault, operator: Operator | None = None) -> Iterator[Stage]:
    """A namespace with an operator behind the fault, and four servers at rest."""
    with kube.namespace("bad") as namespace:
        proxy.fault = fault
        log, arguments = plane.folder / "logs" / f"{namespace}.log", ["--namespace", namespace]
        process = operator(log, arguments) if operator else OperatorProcess(proxy.kubeconfig, log, arguments)
        found = Stage(kube, namespace, proxy, Kubelet(process, pause=1.0))
        process.start()
        try:
            process.wait_ready()
            for name in SERVERS[:4]:
                Servers(kube, namespace).create(name, FULL, settled=False)
            found.settle(1.0)
            yield found
        finally:
            proxy.fault = Fault()
            process.kill()


def change(stage: Stage) -> None:
    """Act as users during the fault: create, change, delete, delete and create again, and delete a child."""
    servers = Servers(stage.kube, stage.namespace)
    servers.kube.delete(KIND, "gone", stage.namespace)
    servers.kube.delete(KIND, "again", stage.namespace)
    servers.create("again", SMALL, settled=False)
    servers.create("new", FULL, settled=False)
    servers.patch("changed", {"engine": {"maxModelLen": 2048}, "replicas": 3}, settled=False)
    servers.kube.delete("Service", "kept", stage.namespace)


def single(stage: Stage) -> Callable[[Call], bool]:
    """Calls about one object; the lists of a start are not a server's."""
    return lambda call: call.concerns(stage.namespace) and not call.is_watch and not call.is_list


def endure(stage: Stage, undisturbed: tuple[str, int], lift: Callable[[], object], seconds: float) -> str:
    """Change the servers, let the fault last, lift it, and judge the recovery; returns what to print."""
    expected, usual = undisturbed
    began, before = time.monotonic(), len(stage.proxy.calls)
    change(stage)
    while time.monotonic() - began < seconds:
        stage.kubelet.tend()
        time.sleep(0.05)
    lift()
    lifted = time.monotonic()
    stage.ends_as(expected, within=RECOVERY_SECONDS)
    now = time.monotonic()
    calls = stage.proxy.count(single(stage), before)
    allowed = usual + CALLS_A_SECOND * len(SERVERS) * (now - began)
    kinds = Counter(
        f"{call.method} {call.path.split('/')[-2]}" for call in stage.proxy.calls[before:] if single(stage)(call)
    )
    assert calls <= allowed, f"{calls} calls, {allowed:.0f} allowed: {kinds.most_common()}"
    return f"recovered in {now - lifted:.1f} s, {calls} calls ({usual} without a fault), ends {stage.kubelet.ends}"
