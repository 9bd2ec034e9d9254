"""Run programs in the background of a test; they end with it, however it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.harness.operator_process import die_with_parent

TAIL_CHARACTERS = 4000
STOP_SECONDS = 10.0


@dataclass
class Background:
    """Programs with their logs in one folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str | Path], **environment: str) -> None:
        """Start a program."""
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, **environment},
                cwd=self.folder,
                preexec_fn=die_with_parent,
            )

    def log(self, name: str) -> Path:
        """Return the path of a log."""
        return self.folder / f"{name}.log"

    def tails(self) -> str:
        """Return the end of each log, and which programs ended."""
        parts = []
        for name, process in self.running.items():
            state = "runs" if process.poll() is None else f"ended with {process.returncode}"
            text = self.log(name).read_text(errors="replace")[-TAIL_CHARACTERS:]
            parts.append(f"--- {name} {state}\n{text}")
        return "\n".join(parts)

    def stop(self) -> None:
        """End all programs."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
