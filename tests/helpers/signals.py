"""Signals of processes that tests start."""

from __future__ import annotations

import signal


def default_interrupt() -> None:
    """Let SIGINT end a process, as its `preexec_fn`: a background job of a shell ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
