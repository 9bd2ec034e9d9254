"""Where the CPU time goes: py-spy's samples by what the innermost frame belongs to."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

ROOMS = (
    ("kopf", ("kopf/",)),
    ("aiohttp", ("aiohttp/", "yarl/", "multidict/")),
    ("TLS and event loop", ("ssl.py", "asyncio/", "selectors.py", "uvloop")),
    ("JSON and compression", ("api/codec.py", "json/", "gzip")),
    ("rendering (Jinja, YAML)", ("jinja2/", "yaml/", ".j2", "vllm_operator/render/")),
    ("parsing and planning", ("pydantic", "vllm_operator/plan/", "vllm_operator/api/", "vllm_operator/desired.py")),
    ("comparing", ("cluster/drift.py",)),
    ("status", ("vllm_operator/status/", "cluster/status.py")),
    ("caches and watches", ("cluster/store.py", "cluster/reflector.py", "cluster/watches.py", "runtime.py")),
    ("calls and queue", ("vllm_operator/",)),
)
"""The first that fits counts."""


class Profile:
    """Samples a process from the start of the `with` block to its end; `shares` afterwards."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid, self._target = pid, folder / "profile.txt"
        self._program = shutil.which("py-spy")
        self._process: subprocess.Popen[bytes] | None = None
        self.shares: dict[str, float] = {}

    def __enter__(self) -> Profile:
        if self._program is None:
            raise SystemExit("BENCH_PROFILE needs py-spy: uv tool install py-spy")
        command = [self._program, "record", "--nonblocking", "-r", "250", "-d", "3600", "-f", "raw"]
        self._process = subprocess.Popen(
            [*command, "-o", str(self._target), "-p", str(self._pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self.shares = shares(self._target.read_text())


def shares(samples: str) -> dict[str, float]:
    """Per cent of the samples by room, largest first.

    Args:
        samples: py-spy's raw format: `frame;frame;frame count` a line, innermost last.
    """
    counted: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[room(stack.rpartition(";")[2])] += int(count)
    total = sum(counted.values()) or 1
    return {name: round(100 * count / total, 1) for name, count in counted.most_common()}


def room(frame: str) -> str:
    """What a frame such as `loads (json/__init__.py:346)` belongs to."""
    return next((name for name, parts in ROOMS if any(part in frame for part in parts)), "other")
