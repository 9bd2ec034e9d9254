"""`python -m tools.lint_workflows`: check `.github` with zizmor, and with actionlint where Go is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.localcluster import build, settings
from tools.localcluster.errors import ClusterError

GITHUB = settings.REPOSITORY / ".github"


def main() -> int:
    """Run both linters and return 1 when one of them finds something."""
    commands = [zizmor_command(), actionlint_command()]
    results = [passes(command) for command in commands if command]
    return 0 if all(results) else 1


def zizmor_command() -> list[str]:
    """Return the command line of zizmor. Offline: it compares no digest with GitHub."""
    program = Path(sys.executable).with_name("zizmor")
    return [str(program), "--offline", "--quiet", "--persona=pedantic", str(GITHUB)]


def actionlint_command() -> list[str] | None:
    """Return the command line of actionlint; None, with a notice, where Go is missing and it was not built before."""
    program = build.PROGRAMS["actionlint"]
    if not build.is_built(program, settings.folders()) and shutil.which("go") is None:
        print("actionlint: skipped, because Go is not installed", file=sys.stderr)
        return None
    workflows = sorted(str(path) for path in (GITHUB / "workflows").glob("*.yml"))
    try:
        return [str(build.tool("actionlint", settings.folders())), *workflows]
    except ClusterError as error:
        sys.exit(f"actionlint: {error}")


def passes(command: Sequence[str]) -> bool:
    """Run a linter and return whether it found nothing."""
    done = subprocess.run(command)
    print(f"{Path(command[0]).name}: {'ok' if done.returncode == 0 else 'failed'}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
