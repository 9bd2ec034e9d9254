"""Killed after any of its writes and started again, the operator ends where an undisturbed one does."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from tests.chaos.harness import Kubelet, Stage
from tests.chaos.proxy import Answer, Call, Dropped, Fault, Proxy
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.state import end_state
from tests.integration.servers import Servers
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess

MOST_WRITES = 60
"""More writes than this for one scenario are a defect of their own."""


@dataclass
class KillAfter(Fault):
    """SIGKILL when the API server has answered to a write, before the operator sees it.

    Attributes:
        process: the operator.
        namespace: where writes count.
        number: which write; 0 for none.
    """

    process: OperatorProcess
    namespace: str
    number: int
    writes: int = 0
    last: str = ""
    killed_at: float = 0.0

    async def before(self, call: Call) -> Answer | None:
        if call.started <= self.killed_at:
            raise Dropped
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        if not call.is_write or not call.concerns(self.namespace):
            return answer
        self.writes += 1
        if self.writes == self.number:
            assert self.process.process is not None
            self.process.process.kill()
            self.killed_at, self.last = time.monotonic(), str(call)
            raise Dropped
        return answer


@dataclass
class Theatre:
    """The cluster in which scenarios run, each in a new namespace and with a new operator."""

    kube: Kube
    plane: Plane
    proxy: Proxy

    def undisturbed(self, scenario: Scenario) -> str:
        """The end state without a fault."""
        fault, state = self._run(scenario, 0, None)
        assert 0 < fault.writes < MOST_WRITES
        return state

    def disturbed(self, scenario: Scenario, number: int, expected: str) -> KillAfter:
        """Kill after a write, and compare."""
        return self._run(scenario, number, expected)[0]

    def _run(self, scenario: Scenario, number: int, expected: str | None) -> tuple[KillAfter, str]:
        with self.kube.namespace("crash") as namespace:
            log = self.plane.folder / "logs" / f"{namespace}.log"
            process = OperatorProcess(self.proxy.kubeconfig, log, ["--namespace", namespace])
            stage = Stage(self.kube, namespace, self.proxy, Kubelet(process))
            fault = KillAfter(process, namespace, number)
            try:
                process.start()
                process.wait_ready()
                return fault, self._play(scenario, stage, fault, expected)
            except AssertionError as error:
                error.add_note(f"killed after write {number}: {fault.last}")
                raise
            finally:
                self.proxy.fault = Fault()
                process.kill()

    def _play(self, scenario: Scenario, stage: Stage, fault: KillAfter, expected: str | None) -> str:
        servers = Servers(stage.kube, stage.namespace)
        for step in scenario.setup:
            step(servers)
            stage.settle()
        self.proxy.fault = fault
        for step in scenario.steps:
            step(servers)
            stage.settle(2.0 if expected is None else 0.6)
        if expected is not None:
            stage.ends_as(expected)
        assert stage.kubelet.ends == ([-9] if fault.killed_at else []), "the operator ended by itself"
        return end_state(stage.kube, stage.namespace)


@pytest.fixture
def theatre(kube: Kube, plane: Plane, proxy: Proxy) -> Theatre:
    return Theatre(kube, plane, proxy)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_operator_killed_after_any_write_reaches_the_same_state(theatre: Theatre, scenario: Scenario) -> None:
    expected, started = theatre.undisturbed(scenario), time.monotonic()
    failures, runs = [], 0
    for number in range(1, MOST_WRITES):
        runs += 1
        try:
            if not theatre.disturbed(scenario, number, expected).killed_at:
                break
        except AssertionError as error:
            failures.append("\n".join([str(error), *getattr(error, "__notes__", ())]))
            print(failures[-1])
    seconds = time.monotonic() - started
    print(f"{scenario.name}: killed after each of {runs - 1} writes, {seconds / runs:.1f} s a run")
    assert not failures, f"{len(failures)} of {runs} runs:\n" + "\n\n".join(failures)
