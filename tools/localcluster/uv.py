"""Find uv, the installer of Python packages, or install it into the cache."""

import shutil
import sys
from pathlib import Path

from tools.localcluster.report import step
from tools.localcluster.settings import Folders
from tools.localcluster.shell import locked, run


def program(folders: Folders) -> Path:
    """Return the path of uv; install it if the machine has none."""
    found = shutil.which("uv")
    if found:
        return Path(found)
    environment = folders.cache / "uv"
    with locked(folders.programs / ".uv.lock"):
        if not (environment / "bin" / "uv").exists():
            with step("install uv", announce=True):
                run([sys.executable, "-m", "venv", environment])
                run([environment / "bin" / "python", "-m", "pip", "install", "--quiet", "uv"])
    return environment / "bin" / "uv"
