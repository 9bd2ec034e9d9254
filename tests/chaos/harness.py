"""Run the operator through the proxy, play the kubelet for it, and wait until nothing happens any more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.chaos.proxy import Proxy
from tests.chaos.state import difference, end_state, orphans
from tools.harness.kube import KIND, Kube
from tools.harness.operator_process import OperatorProcess

QUIET_SECONDS = 0.6


@dataclass
class Kubelet:
    """Starts the operator again when it has ended.

    Attributes:
        process: the operator.
        pause: seconds between its end and its next start.
        ends: exit codes so far.
    """

    process: OperatorProcess
    pause: float = 0.0
    ends: list[int] = field(default_factory=list)
    _due: float | None = None

    def tend(self) -> bool:
        """Start it if it is due; whether it is ready."""
        if self.process.alive():
            return self.process.answers("/readyz")
        now = time.monotonic()
        if self._due is None:
            assert self.process.process is not None
            self.ends.append(self.process.process.returncode)
            self._due = now + self.pause
        if now >= self._due:
            self._due = None
            self.process.start()
        return False


@dataclass
class Stage:
    """One namespace with its operator."""

    kube: Kube
    namespace: str
    proxy: Proxy
    kubelet: Kubelet

    def settle(self, quiet: float = QUIET_SECONDS, within: float = 90) -> None:
        """Wait until every server is judged, nothing is being deleted, and the operator has written nothing lately."""
        self._await(lambda: self._unsettled(quiet), within)

    def ends_as(self, expected: str, within: float = 60) -> None:
        """Wait until the end state is the expected one, at rest."""
        self._await(lambda: self._unsettled(QUIET_SECONDS) or self._differs(expected), within)

    def writes(self) -> int:
        """Writes of the operator in this namespace so far."""
        return self.proxy.count(lambda call: call.is_write and call.concerns(self.namespace))

    def _await(self, trouble: object, within: float) -> None:
        assert callable(trouble)
        deadline = time.monotonic() + within
        while reason := trouble():
            assert time.monotonic() < deadline, f"after {within:g} s: {reason}\n{self.kubelet.process.tail()}"
            time.sleep(0.05)

    def _unsettled(self, quiet: float) -> str:
        if not self.kubelet.tend():
            return "the operator is not ready"
        if time.monotonic() - self._last_write() < quiet:
            return "the operator still writes"
        for server in self.kube.list(KIND, self.namespace):
            metadata, status = server["metadata"], server.get("status") or {}
            if metadata.get("deletionTimestamp"):
                return f"{metadata['name']} is being deleted"
            if status.get("observedGeneration") != metadata["generation"]:
                return f"{metadata['name']} is not judged"
        left = orphans(self.kube, self.namespace)
        return f"without owner: {', '.join(left)}" if left else ""

    def _last_write(self) -> float:
        ours = (call.started for call in self.proxy.calls if call.is_write and call.concerns(self.namespace))
        return max(ours, default=0.0)

    def _differs(self, expected: str) -> str:
        found = end_state(self.kube, self.namespace)
        return "" if found == expected else difference(expected, found)
