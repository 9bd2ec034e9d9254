"""Remember how long work took on this machine, so that the next plan can name the minutes."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Durations:
    """Durations by name, as one small file each: several threads and commands may write at the same time."""

    folder: Path

    def seconds(self, name: str, default: float) -> float:
        """Return the seconds that the work took the last time, or the default."""
        try:
            return float((self.folder / f"{name}.seconds").read_text())
        except (OSError, ValueError):
            return default

    @contextlib.contextmanager
    def measured(self, name: str, *, keep_longest: bool = False) -> Iterator[None]:
        """Remember how long the enclosed work takes, unless it fails.

        Args:
            name: name of the work.
            keep_longest: a shorter time does not replace a longer one. For builds, which are short where an interrupted
                one goes on, or where the compiler's cache is warm.
        """
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        if not keep_longest or seconds > self.seconds(name, 0):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{name}.seconds").write_text(f"{seconds:.1f}\n")
