"""Run the operator as a real process: start it, kill it, and measure it by its process id."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

START_SECONDS = 120.0
"""Longest time until the operator is ready: two seconds of CPU time, which a busy machine gives it when it can."""


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Ask the kernel to end this process when the one that started it is gone, however that ended."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@dataclass
class OperatorProcess:
    """`python -m vllm_operator run`, outside the cluster; starts may be repeated, the log goes on."""

    kubeconfig: Path
    log: Path
    arguments: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it without waiting."""
        command = [sys.executable, "-m", "vllm_operator", "run", "--log-format", "text"]
        command += ["--listen", f"127.0.0.1:{self.port}", *self.arguments]
        self.launch(command)

    def launch(self, command: Sequence[str]) -> None:
        """Start a process that ends with this one."""
        assert not self.alive(), "the operator runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
                preexec_fn=die_with_parent,
            )

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until /readyz answers 200."""
        deadline = time.monotonic() + seconds
        while not self.answers("/readyz"):
            assert self.alive(), f"the operator ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"the operator is not ready after {seconds} s:\n{self.tail()}"
            time.sleep(0.05)

    def answers(self, path: str) -> bool:
        """Return whether a GET of this path is answered with 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL: the operator ends without any further call."""
        self._end(signal.SIGKILL)

    def stop(self, seconds: float = 15) -> int:
        """Send SIGTERM; return the exit code."""
        return self._end(signal.SIGTERM, seconds)

    def _end(self, number: signal.Signals, seconds: float = 10) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the operator did not end within {seconds} s:\n{self.tail()}") from None

    def cpu_seconds(self) -> float:
        """Return user and system time since the start, in seconds."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_megabytes(self) -> float:
        """Return the resident memory now, in MB."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def peak_memory(self) -> int:
        """Return the most memory that the process has had so far, in bytes (`VmHWM`)."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def tail(self, lines: int = 40) -> str:
        """Return the end of the log."""
        if not self.log.exists():
            return "operator log: none"
        text = "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return f"operator log:\n{text}"
