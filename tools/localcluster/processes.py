"""Start and end processes that outlive the command which started them.

A process is remembered by its id, its start time and its boot: ids are used again, after a reboot and on a busy machine
soon, and another process with a remembered id must never be ended.
"""

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.localcluster.errors import ClusterError

PR_SET_PDEATHSIG = 1


def boot_id() -> str:
    """Return the id of the machine's boot, another one after every boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(stat: str) -> int:
    """Return the clock ticks from boot to the start of a process, from the text of its /proc/PID/stat.

    Field 22; the name in field 2 may hold spaces and parentheses, so counting begins behind the last one.
    """
    return int(stat.rpartition(")")[2].split()[19])


def running_since(pid: int) -> int | None:
    """Return the start time of a process; None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return None if stat.rpartition(")")[2].split()[0] in "ZX" else start_time(stat)


@dataclass(frozen=True)
class Record:
    """The identity of a started process."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        """Return whether exactly this process still runs."""
        return self.boot == boot_id() and running_since(self.pid) == self.started


class Processes:
    """The processes of one folder: `NAME.json` remembers each, `logs/NAME.log` holds what it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "processes"
        self.logs = folder / "logs"

    def names(self) -> list[str]:
        """Return the names of all that were started and not stopped, dead ones too."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def record(self, name: str) -> Record | None:
        """Return the record of a process; None for one never started or a half-written file."""
        try:
            return Record(**json.loads((self.folder / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def alive(self, name: str) -> bool:
        """Return whether the process runs."""
        record = self.record(name)
        return record is not None and record.alive()

    def start(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        namespace: str = "",
        env: Mapping[str, str] | None = None,
        dies_with_caller: bool = False,
    ) -> None:
        """Start it unless it runs already; `namespace` names the network namespace to run it in."""
        if self.alive(name):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        words = [os.fspath(word) for word in command]
        if namespace:
            # Not `ip netns exec`: that hides mounts which kubelet and containerd have to share.
            words = ["nsenter", f"--net=/run/netns/{namespace}", "--", *words]
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                preexec_fn=_die_with_parent if dies_with_caller else None,
            )
        record = Record(process.pid, running_since(process.pid) or 0, boot_id())
        temporary = self.folder / f".{name}.new"
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(self.folder / f"{name}.json")

    def stop(self, names: Iterable[str], *, gently: float = 0) -> None:
        """End these processes together: a polite signal and `gently` seconds first, if any, then SIGKILL."""
        records = {name: self.record(name) for name in names}
        living = [record for record in records.values() if record]
        if gently:
            _signal(living, signal.SIGTERM)
            wait_until(lambda: not any(record.alive() for record in living), gently)
        _signal(living, signal.SIGKILL)
        wait_until(lambda: not any(record.alive() for record in living), 10)
        for name in records:
            (self.folder / f"{name}.json").unlink(missing_ok=True)

    def await_ready(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`; raise ClusterError with the end of the log when it dies or takes too long."""
        if wait_until(lambda: ready() or not self.alive(name), seconds) and self.alive(name):
            return
        tail = "\n".join(self.tail(name))
        problem = "is not ready" if self.alive(name) else "died"
        raise ClusterError(f"{name} {problem}; the end of {self.logs / name}.log:\n{tail}")

    def tail(self, name: str, lines: int = 15) -> list[str]:
        """Return the last lines of a log."""
        try:
            return (self.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:]
        except OSError:
            return []


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _signal(records: Iterable[Record], number: signal.Signals) -> None:
    for record in records:
        if record.alive():
            try:
                os.kill(record.pid, number)
            except ProcessLookupError:
                continue


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Poll until the condition holds; return whether it did within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
