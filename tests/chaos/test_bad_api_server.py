"""Whatever the API server does to its clients, the operator ends where it should, soon, and without a storm."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.chaos.bad_behaviour import (
    Bad,
    ErrorEvents,
    Errors,
    Halved,
    HalvedEvents,
    HalvedLists,
    Hanging,
    HangingAnswers,
    LostAnswers,
    Reordered,
    Repeated,
    Rotated,
    StaleLists,
    Unheard,
)
from tests.chaos.endurance import RECOVERY_SECONDS, endure, stage
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.scenarios import SMALL
from tests.integration.servers import Servers
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess

FAULT_SECONDS = 4.0
RESUMED_SECONDS = 4.0
"""Far less than watches wait after many failures: a call that shows that the API server is back ends their pause."""


FAULTS: dict[str, Callable[[], Bad]] = {
    "events dropped and the watch broken": Unheard,
    "a silent watch with an open socket": Unheard,
    "events dropped and the watch going on": lambda: Unheard(goes_on=True),
    "events repeated": Repeated,
    "events reordered": Reordered,
    "410 in a watch": ErrorEvents,
    "410 after a blind watch": lambda: ErrorEvents(refused_seconds=2.0),
    "410 instead of a watch": lambda: Errors(status=410, reason="Expired", only=lambda call: call.is_watch),
    "404 instead of a watch": lambda: Errors(status=404, reason="NotFound", only=lambda call: call.is_watch),
    "ERROR event 500": lambda: ErrorEvents(code=500, reason="InternalError"),
    "ERROR event 403": lambda: ErrorEvents(code=403, reason="Forbidden"),
    "409 on writes": lambda: Errors(status=409, reason="Conflict", only=lambda call: call.is_write),
    "429 with Retry-After": lambda: Errors(status=429, reason="TooManyRequests", headers={"Retry_After": "2"}),
    "500": Errors,
    "503": lambda: Errors(status=503, reason="ServiceUnavailable"),
    "504 after the write took effect": LostAnswers,
    "closed after the write took effect": lambda: LostAnswers(status=0),
    "silence after the write took effect": HangingAnswers,
    "writes that hang": Hanging,
    "half answers": Halved,
    "torn answers": lambda: Halved(torn=True),
    "half events": HalvedEvents,
    "half lists": HalvedLists,
    "stale lists": StaleLists,
    "credentials refused for a while": lambda: Errors(status=401, reason="Unauthorized"),
    "credentials replaced": Rotated,
    "permissions lost for a while": lambda: Errors(status=403, reason="Forbidden", only=lambda call: not call.is_write),
}


@pytest.mark.parametrize("name", FAULTS)
def test_operator_recovers_from(
    kube: Kube, plane: Plane, proxy: Proxy, undisturbed: tuple[str, int], name: str
) -> None:
    fault = FAULTS[name]()
    with stage(kube, plane, proxy, fault) as found:
        fault.active = True
        if isinstance(fault, (ErrorEvents, Errors, Rotated, HalvedEvents)):
            proxy.cut()

        def lift() -> None:
            if isinstance(fault, Rotated):
                proxy.write_kubeconfig(fault.accepted)
            else:
                fault.active = False
            if name.endswith("broken"):
                proxy.cut()

        summary = endure(found, undisturbed, lift, FAULT_SECONDS)
        print(f"{name}: struck {fault.struck} times, {summary}")
        assert fault.struck > 0, "the fault did not happen"
        assert found.kubelet.ends == [], found.kubelet.process.tail(80)


def test_operator_recovers_from_an_api_server_outage_of_half_a_minute(
    kube: Kube, plane: Plane, proxy: Proxy, undisturbed: tuple[str, int]
) -> None:
    with stage(kube, plane, proxy, Fault()) as found:
        proxy.go_away()
        print("outage:", endure(found, undisturbed, proxy.come_back, 30.0))
        assert found.kubelet.ends == [], found.kubelet.process.tail(80)


def watched(proxy: Proxy, since: int = 0) -> dict[str, float]:
    """The collections that are watched, and when each watch first began."""
    begun: dict[str, float] = {}
    for call in proxy.calls[since:]:
        if call.is_watch and call.status == 200:
            begun.setdefault(call.path, call.started)
    return begun


def test_watches_and_failed_writes_resume_when_the_api_server_is_back(kube: Kube, plane: Plane, proxy: Proxy) -> None:
    with stage(kube, plane, proxy, Fault()) as found:
        usual = set(watched(proxy))
        proxy.go_away()
        kube.delete("Service", "kept", found.namespace)
        time.sleep(20)
        since, back = len(proxy.calls), time.monotonic()
        proxy.come_back()

        def late() -> float:
            begun = watched(proxy, since)
            assert set(begun) == usual
            return max(begun.values()) - back

        seconds = kube.eventually(late, within=RECOVERY_SECONDS)
        kube.eventually(lambda: kube.get("Service", "kept", found.namespace) is not None, within=RECOVERY_SECONDS)
        print(f"back: {len(usual)} watches within {seconds:.1f} s, a child after {time.monotonic() - back:.1f} s")
        assert len(usual) >= 7
        assert seconds <= RESUMED_SECONDS


def test_deletion_missed_by_the_watch_is_noticed_in_an_empty_list(kube: Kube, plane: Plane, proxy: Proxy) -> None:
    fault = ErrorEvents(refused_seconds=2.0)
    with kube.namespace("bad") as namespace:
        proxy.fault = fault
        log = plane.folder / "logs" / f"{namespace}.log"
        process = OperatorProcess(proxy.kubeconfig, log, ["--namespace", namespace])
        process.start()
        try:
            process.wait_ready()
            servers = Servers(kube, namespace)
            servers.create("only", SMALL)
            fault.active = True
            proxy.cut()
            kube.delete("Service", "only", namespace)
            kube.eventually(lambda: servers.find_child("Service", "only") is not None, within=RECOVERY_SECONDS)
            assert fault.struck > 0, "no watch was made to list again"
        finally:
            proxy.fault = Fault()
            process.kill()
