"""Running other programs, with errors that show what was run and what it said."""

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.localcluster.errors import ClusterError

Argument = str | os.PathLike[str]


def run(
    command: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> str:
    """Run to the end and return standard output.

    Raises:
        ClusterError: it is not installed, failed, or took longer than `timeout` seconds.
    """
    words = [os.fspath(word) for word in command]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise ClusterError(f"`{words[0]}` is not installed", "Install it and run this again.") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"`{' '.join(words)}` did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise ClusterError(f"`{' '.join(words)}` failed with exit code {done.returncode}:\n{output}")
    return done.stdout


def succeeds(command: Sequence[Argument], timeout: float = 60) -> bool:
    """Whether the command ends with exit code 0; a missing or hanging program is a plain no."""
    try:
        run(command, timeout=timeout)
    except ClusterError:
        return False
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file lock `path`, so that two commands at the same time do not build or start the same thing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
