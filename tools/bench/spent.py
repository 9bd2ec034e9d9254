"""CPU time of the processes of a control plane, from the operating system."""

from __future__ import annotations

import os
from pathlib import Path

from tools.localcluster.processes import Processes

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(folder: Path) -> dict[str, float]:
    """User and system time by process name since its start: API server, etcd, controller manager, and this program."""
    processes = Processes(folder)
    pids = {name: record.pid for name in processes.names() if (record := processes.record(name))}
    return {name: _of(pid) for name, pid in {**pids, "bench": os.getpid()}.items()}


def difference(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return the CPU time that each process spent between two readings."""
    return {name: round(after[name] - before[name], 1) for name in before if name in after}


def _of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
