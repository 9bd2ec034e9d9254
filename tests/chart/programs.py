"""Find the programs that the chart tests run."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import pytest

from tools.localcluster import build, settings

PROGRAMS = ("helm3", "helm4")


@cache
def built(name: str) -> Path:
    """Return the path of a program, built once. Skips only where Go is missing."""
    program = build.PROGRAMS[build.TOOLS[name]]
    if not build.is_built(program, settings.folders()) and shutil.which("go") is None:
        pytest.skip(f"{name} is built with Go, which is not installed")
    return build.tool(name, settings.folders())
