"""Two operators and one Lease: one writes; the other takes over when it stops, dies or freezes."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.chaos.proxy import Answer, Call, Fault, Proxy
from tests.chaos.scenarios import FULL
from tests.integration.servers import Servers
from tools.harness.audit import Request
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess
from vllm_operator.controller.manager import LEASE_NAME

HANDOVER_SECONDS = 3.0
FAILOVER_SECONDS = 20.0


@dataclass
class Candidate:
    """An operator that leads or stands by; the audit log knows it by its User-Agent."""

    name: str
    proxy: Proxy
    process: OperatorProcess

    @property
    def leads(self) -> bool:
        return "leading as" in self.process.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        assert self.process.process is not None
        self.process.process.send_signal(number)


@dataclass
class Pair:
    """A leader, its standby, and the servers of the namespace that both serve."""

    plane: Plane
    servers: Servers
    leader: Candidate
    standby: Candidate

    def writes(self, candidate: Candidate, mark: int) -> list[Request]:
        """Return the writes that the API server accepted from this operator, the Lease included."""
        found = self.plane.audit.writes(mark, namespace=self.servers.namespace)
        return [request for request in found if request.agent.endswith(f"({candidate.name})")]

    def holder(self) -> str:
        """Return the holder of the Lease."""
        return str(self.servers.kube.must_get("Lease", LEASE_NAME, self.servers.namespace)["spec"]["holderIdentity"])

    def seconds_until_standby_leads(self, end_leader: Callable[[], object]) -> float:
        """End the leader in some way, and measure until the other one leads."""
        began = time.monotonic()
        end_leader()
        while not self.standby.leads:
            assert time.monotonic() - began < 2 * FAILOVER_SECONDS, self.standby.process.tail()
            time.sleep(0.02)
        return time.monotonic() - began


@contextlib.contextmanager
def candidate(plane: Plane, namespace: str, name: str) -> Iterator[Candidate]:
    with Proxy(plane.kubeconfig, plane.folder, agent=f" ({name})") as proxy:
        log = plane.folder / "logs" / f"{namespace}-{name}.log"
        process = OperatorProcess(proxy.kubeconfig, log, ["--namespace", namespace, "--leader-elect"])
        process.start()
        try:
            process.wait_ready()
            yield Candidate(name, proxy, process)
        finally:
            process.kill()


@pytest.fixture
def pair(plane: Plane, kube: Kube) -> Iterator[Pair]:
    with (
        kube.namespace("pair") as namespace,
        candidate(plane, namespace, "first") as first,
    ):
        kube.eventually(lambda: first.leads, within=30)
        with candidate(plane, namespace, "second") as second:
            yield Pair(plane, Servers(kube, namespace), first, second)


def test_standby_watches_and_writes_nothing(pair: Pair, plane: Plane) -> None:
    mark = plane.audit.mark()
    pair.servers.create("watched", FULL)
    pair.servers.patch("watched", {"replicas": 3})
    # Longer than a standby waits between two looks at the Lease.
    time.sleep(3)
    assert pair.writes(pair.standby, mark) == []
    assert pair.writes(pair.leader, mark) != []
    assert not pair.standby.leads
    assert pair.standby.proxy.count(lambda call: call.is_watch) >= 8


def test_standby_leads_within_three_seconds_of_a_clean_stop(pair: Pair) -> None:
    pair.servers.create("before")
    seconds = pair.seconds_until_standby_leads(lambda: pair.leader.signal(signal.SIGTERM))
    print(f"clean stop: the standby leads after {seconds:.1f} s")
    assert seconds <= HANDOVER_SECONDS
    assert pair.leader.process.stop() == 0
    pair.servers.create("after")


def test_after_a_kill_the_standby_leads_within_twenty_seconds(pair: Pair) -> None:
    pair.servers.create("before")
    seconds = pair.seconds_until_standby_leads(pair.leader.process.kill)
    print(f"kill: the standby leads after {seconds:.1f} s")
    assert seconds <= FAILOVER_SECONDS
    pair.servers.create("after")


@dataclass
class FreezeAfter(Fault):
    """Send SIGSTOP during the work, when the API server has answered `number` writes to children."""

    process: OperatorProcess
    number: int
    writes: int = 0

    async def after(self, call: Call, answer: Answer) -> Answer:
        self.writes += call.is_write and "/leases/" not in call.path
        if self.writes == self.number:
            assert self.process.process is not None
            self.process.process.send_signal(signal.SIGSTOP)
        return answer


def test_leader_suspended_beyond_its_lease_writes_nothing_when_it_resumes(pair: Pair, plane: Plane) -> None:
    names = [f"frozen-{number}" for number in range(5)]
    pair.leader.proxy.fault = fault = FreezeAfter(pair.leader.process, number=4)
    for name in names:
        pair.servers.create(name, FULL, settled=False)
    pair.servers.kube.eventually(lambda: fault.writes >= fault.number, within=30)
    seconds = pair.seconds_until_standby_leads(lambda: None)
    print(f"freeze: the standby leads after {seconds:.1f} s")
    assert seconds <= FAILOVER_SECONDS
    for name in names:
        pair.servers.settled(name)
        pair.servers.patch(name, {"replicas": 3})
    holder, mark = pair.holder(), plane.audit.mark()
    pair.leader.signal(signal.SIGCONT)
    process = pair.leader.process.process
    assert process is not None
    assert process.wait(60) != 0, "it has to be started afresh"
    assert pair.writes(pair.leader, mark) == []
    assert pair.holder() == holder
    assert all(pair.servers.child("Deployment", name)["spec"]["replicas"] == 3 for name in names)
