"""Divide CPU time among the parts of the operator: py-spy's samples, by their innermost frame."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

PARTS = (
    ("kopf", ("kopf/", "vllm_operator/kopf_adapter/")),
    ("aiohttp", ("aiohttp/", "yarl/", "multidict/")),
    ("TLS and event loop", ("ssl.py", "asyncio/", "selectors.py", "uvloop")),
    ("JSON and compression", ("vllm_operator/kube/codec.py", "json/", "gzip", "isal/")),
    ("rendering (Jinja, YAML)", ("jinja2/", "yaml/", ".j2", "vllm_operator/desired/rendering/")),
    (
        "parsing and desired state",
        (
            "pydantic",
            "vllm_operator/api/",
            "vllm_operator/desired/",
            "vllm_operator/validation/",
            "vllm_operator/vllm/",
        ),
    ),
    ("comparing", ("vllm_operator/apply/drift.py",)),
    ("status", ("vllm_operator/status/", "vllm_operator/controller/status_writer.py")),
    ("caches and watches", ("vllm_operator/informers/", "vllm_operator/controller/manager.py")),
    ("calls and queue", ("vllm_operator/",)),
)
"""Part of the operator -> pieces of the file names of its frames. The first part that fits counts."""


class Profile:
    """Sample a process from the start of the `with` block to its end; `shares` holds the result."""

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
    """Return the percentage of the samples of each part, largest first.

    Args:
        samples: py-spy's raw format: `frame;frame;frame count` a line, innermost last.
    """
    counted: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[part_of(stack.rpartition(";")[2])] += int(count)
    total = sum(counted.values()) or 1
    return {name: round(100 * count / total, 1) for name, count in counted.most_common()}


def part_of(frame: str) -> str:
    """Return the part of the operator that a frame such as `loads (json/__init__.py:346)` belongs to."""
    return next((name for name, pieces in PARTS if any(piece in frame for piece in pieces)), "other")
