"""One server with a fault: measure the time until its status shows the fault, and until it recovered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tests.e2e.states import agreement, operator_pod
from tests.e2e.states.recorder import Recorder, Row
from tests.e2e.states.watch import Seen, StatusWatch
from tools.harness.kube import KIND, Kube, Object, condition

LIMIT_SECONDS = 60.0
"""A status has to be true within this time: a promise to the user, not a benchmark."""

PATIENCE_SECONDS = 150.0
"""Seconds to wait for a late status, so that the table can show how late it was."""

HEALING_SECONDS = 300.0
"""A replica loads for 40 s on two quiet cores, and waits for the kubelet's back-off before."""


@dataclass(frozen=True)
class Expected:
    """The expected status.

    Attributes:
        phase: of the server.
        ready: reason of the condition `Ready`, which is False.
        replica: phase and reason of the worst replica; None without a replica.
        message: pattern that the server's one line must match.
        stalled: nothing will happen without a person.
        conditions: further conditions, as `Type=Status` or `Type=Status:Reason`.
    """

    phase: str
    ready: str
    replica: tuple[str, str] | None
    message: str
    stalled: bool = False
    conditions: tuple[str, ...] = ()

    def lacks(self, seen: Seen | None) -> str:
        """Return the parts that the status lacks; empty when it is complete."""
        if seen is None or not seen.is_current:
            return "a status of this generation"
        status, ready = seen.status, condition(seen.server, "Ready")
        worst = next(iter(status.get("replicaStatuses") or ()), None)
        found = {
            f"phase {self.phase}": status["phase"] == self.phase,
            f"Ready=False:{self.ready}": (ready["status"], ready["reason"]) == ("False", self.ready),
            f"Stalled={self.stalled}": condition(seen.server, "Stalled")["status"] == str(self.stalled),
            f"worst replica {self.replica}": (worst and (worst["phase"], worst["reason"])) == self.replica,
            f"message {self.message}": re.search(self.message, status["message"]) is not None,
        }
        found |= {wanted: _says(seen.server, wanted) for wanted in self.conditions}
        return ", ".join(what for what, holds in found.items() if not holds)


def _says(server: Object, wanted: str) -> bool:
    kind, _, rest = wanted.partition("=")
    status, _, reason = rest.partition(":")
    found = condition(server, kind)
    return found.get("status") == status and reason in ("", found.get("reason"))


@dataclass
class Case:
    """A server of a row of the table."""

    kube: Kube
    watch: StatusWatch
    recorder: Recorder
    name: str
    row: Row = field(default_factory=lambda: Row(0, "being prepared"))
    began: float = 0.0

    @property
    def namespace(self) -> str:
        return self.watch.namespace

    def suffers(self, group: int, trouble: str, fault: Callable[[], object]) -> None:
        """Begin a row with its fault; the clock starts before it."""
        self.row = self.recorder.row(group, trouble)
        self.began = time.monotonic()
        fault()

    def shows(self, expected: Expected) -> Seen:
        """Wait for the status that shows the fault, record it, and check that all waiting tools agree on it."""
        seen = self._until(expected.lacks, PATIENCE_SECONDS)
        self.row.seconds = round(seen.at - self.began, 1)
        self.row.lag = _since_the_end(seen)
        self.note(seen)
        self.row.waiters = agreement.check(self.kube, self.namespace, seen.server)
        late = self.row.seconds if self.row.lag is None else self.row.lag
        assert late <= LIMIT_SECONDS, f"reported after {late} s: {self.row.message}"
        return seen

    def survives_a_restart_of_the_operator(self) -> None:
        """Restart the operator: nothing at all may be written."""
        mark = self.watch.mark(self.name)
        operator_pod.restart(self.kube)
        changes = self.watch.since(self.name, mark)
        self.row.restart = len(changes)
        assert not changes, [(change.status["phase"], change.status["message"]) for change in changes]

    def heals(self, cure: Callable[[], object], seconds: float = HEALING_SECONDS) -> None:
        """Apply the cure and wait until the server is ready."""
        began = time.monotonic()
        cure()
        self.row.back = round(self.becomes_ready(seconds).at - began, 1)

    def becomes_ready(self, seconds: float = HEALING_SECONDS) -> Seen:
        """Wait for `Ready=True`."""
        seen = self._until(_unready, seconds)
        agreement.check(self.kube, self.namespace, seen.server)
        return seen

    def applies(self, body: Object) -> None:
        """`kubectl apply`."""
        self.kube.apply(body, namespace=self.namespace)

    def changes(self, spec: Object) -> None:
        """Patch the spec as a user does."""
        self.kube.patch(KIND, self.name, self.namespace, {"spec": spec})

    def _until(self, lacks: Callable[[Seen | None], str], seconds: float) -> Seen:
        """The first status that lacks nothing."""
        deadline = time.monotonic() + seconds
        while missing := lacks(self.watch.latest(self.name)):
            if time.monotonic() > deadline:
                if latest := self.watch.latest(self.name):
                    self.note(latest)
                raise AssertionError(
                    f"not within {seconds:g} s: {missing}\n{self.row}\n{self.kube.report(self.namespace)}"
                )
            assert self.watch.alive(), "the watch ended"
            self.watch.wait_news(1.0)
        found = self.watch.latest(self.name)
        assert found is not None
        return found

    def note(self, seen: Seen) -> None:
        """Write down what a status says."""
        row, status = self.row, seen.status
        worst = next(iter(status.get("replicaStatuses") or ()), {})
        ready = condition(seen.server, "Ready")
        row.phase, row.message = status.get("phase", ""), status.get("message", "")
        row.ready, row.explanation = ready.get("reason", ""), ready.get("message", "")
        row.stalled = condition(seen.server, "Stalled").get("status", "")
        row.replica = " ".join(filter(None, (worst.get("phase"), worst.get("reason"))))


def _since_the_end(seen: Seen) -> float | None:
    """Return the seconds from the end of the container to the status that shows it; None if none ended."""
    worst = next(iter(seen.status.get("replicaStatuses") or ()), {})
    if worst.get("phase") != "CrashLooping":
        return None
    ended = datetime.fromisoformat(worst["since"]).timestamp()
    return round(max(seen.clock - ended, 0.0), 1)


def _unready(seen: Seen | None) -> str:
    if seen is None or not seen.is_current:
        return "a status of this generation"
    return "" if condition(seen.server, "Ready").get("status") == "True" else "Ready=True"
