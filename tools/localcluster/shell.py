"""Run other programs, with errors that show the command line and the output."""

import contextlib
import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.localcluster.errors import ClusterError

Argument = str | os.PathLike[str]


_running: set[subprocess.Popen[str]] = set()
_interrupted = threading.Event()


def run(
    command: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    Raises:
        ClusterError: the program is not installed, failed, or took longer than `timeout` seconds.
    """
    if _interrupted.is_set():
        raise ClusterError("interrupted")
    words = [os.fspath(word) for word in command]
    shown = f"`{' '.join(words)}`"
    try:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise ClusterError(f"`{words[0]}` is not installed", "Install it and run this again.") from error
    _running.add(process)
    if _interrupted.is_set():
        process.terminate()
    try:
        stdout, stderr = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{shown} did not end within {timeout:.0f} s") from error
    finally:
        # Does nothing to a program that has ended.
        process.kill()
        process.wait()
        _running.discard(process)
    if process.returncode != 0:
        output = "\n".join((stdout + stderr).strip().splitlines()[-25:])
        raise ClusterError(f"{shown} failed with exit code {process.returncode}:\n{output}")
    return stdout


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """Ask every program that `run` waits for in any thread to end, and let no thread start another in the block.

    A build that waits for the lock of another one would begin as soon as that one ends.
    """
    _interrupted.set()
    try:
        for process in list(_running):
            process.terminate()
        yield
    finally:
        _interrupted.clear()


def succeeds(command: Sequence[Argument], timeout: float = 60) -> bool:
    """Return whether the command ends with exit code 0; False for a missing or hanging program."""
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
