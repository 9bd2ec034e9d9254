"""Report progress on standard error, so that standard output stays for scripts."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_START = time.monotonic()


def say(message: str) -> None:
    """Print one line with the seconds since the command began."""
    # In one piece: several threads report.
    sys.stderr.write(f"[{time.monotonic() - _START:6.1f} s] {message}\n")
    sys.stderr.flush()


@contextmanager
def step(name: str, announce: bool = False) -> Iterator[None]:
    """Report how long the enclosed work took; `announce` also says that it begins, for the long ones."""
    if announce:
        say(f"{name} ...")
    began = time.monotonic()
    yield
    say(f"{name}: {time.monotonic() - began:.1f} s")
