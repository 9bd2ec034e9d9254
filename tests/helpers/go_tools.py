"""Programs of other projects that check what this one writes, built once from their Go modules."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY


@cache
def go_tool(name: str) -> str:
    """Path of a program of `tools.localcluster`. Skips only where Go is missing."""
    if shutil.which("go") is None:
        pytest.skip(f"{name} is built with Go, which is not installed")
    command = [sys.executable, "-m", "tools.localcluster", "tool", name]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    path = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not Path(path).is_file():
        pytest.fail(f"{name} could not be built: {done.stderr or done.stdout}")
    return path


def succeeded(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a program; return what it prints, and fail with its own words."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
