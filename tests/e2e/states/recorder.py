"""The table of what was shown: each state with its message, the seconds to it, and the seconds back."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

HEAD = "| Row | Trouble | Phase | Ready | Replica | Flux, Argo CD | Seconds | Lag | Back | Restart | Load | Message |"


@dataclass
class Row:
    """One state of one server. Times are seconds; None where nothing was measured.

    Attributes:
        group: number of the row in the list of what must be shown.
        trouble: what was done to it.
        phase, ready, replica: phase of the server, reason of `Ready`, phase and reason of the worst replica.
        message: the server's own line.
        explanation: message of the condition that explains most, with the remedy.
        waiters: the health by Flux (kstatus) and by Argo CD (our script).
        seconds: from the fault to the status that shows it.
        lag: of those, the ones since the container ended, where it did: vLLM takes its time to fail.
        back: from the repair to `Ready=True`.
        restart: statuses that were written while the operator was restarted.
        load: runnable processes of the machine when the state was measured, over the last minute.
    """

    group: int
    trouble: str
    phase: str = ""
    ready: str = ""
    replica: str = ""
    message: str = ""
    explanation: str = ""
    stalled: str = ""
    waiters: str = ""
    seconds: float | None = None
    lag: float | None = None
    back: float | None = None
    restart: int | None = None
    load: float | None = None

    def as_line(self) -> str:
        """The row in Markdown."""
        times = ["" if value is None else f"{value:.1f}" for value in (self.seconds, self.lag, self.back)]
        restart = "" if self.restart is None else "same" if not self.restart else f"{self.restart} writes"
        load = "" if self.load is None else f"{self.load:.1f}"
        cells = [
            str(self.group),
            self.trouble,
            self.phase,
            self.ready,
            self.replica,
            self.waiters,
            *times,
            restart,
            load,
        ]
        return "| " + " | ".join([*cells, self.message.replace("|", "\\|")]) + " |"


@dataclass
class Recorder:
    """All rows, in the order in which they were measured; and what `kubectl describe` says after many of them."""

    rows: list[Row] = field(default_factory=list)
    story: str = ""

    def row(self, group: int, trouble: str) -> Row:
        """Begin a row: it is in the table whether or not its test goes through."""
        row = Row(group, trouble, load=round(os.getloadavg()[0], 1))
        self.rows.append(row)
        return row

    def table(self) -> str:
        """The rows in Markdown."""
        rule = "|" + "---|" * (HEAD.count("|") - 1)
        return "\n".join([HEAD, rule, *(row.as_line() for row in self.rows)])

    def write(self, path: Path) -> None:
        """The rows as JSON."""
        path.write_text(json.dumps([asdict(row) for row in self.rows], indent=1, ensure_ascii=False) + "\n")
