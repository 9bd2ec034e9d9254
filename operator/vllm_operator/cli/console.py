"""Print to terminals, pipes and files: colours only on terminals, and never raw text of tenants."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vllm_operator.cli.sanitize import clean

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 10_000
"""Width of a table that no terminal shows: each row is one line, for `grep` and `awk`."""


def out() -> Console:
    """Return the console of standard output."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console of standard error, for notes and progress."""
    return _console(stderr=True)


def uses_colour(stream_is_terminal: bool) -> bool:
    """Return whether to print colours: on a terminal without NO_COLOR (https://no-color.org) and `TERM=dumb`."""
    return stream_is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream.isatty()
    coloured = uses_colour(is_terminal)
    return Console(
        file=stream,
        force_terminal=is_terminal,
        no_color=not coloured,
        color_system="auto" if coloured else None,
        width=None if is_terminal else PIPE_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not is_terminal,
    )


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show a spinner with a text on standard error while the block runs; on a pipe print nothing."""
    if not sys.stderr.isatty():
        yield
        return
    with err().status(clean(text)):
        yield


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the newest text on standard error: by a spinner on a terminal, else as a line."""
    if not sys.stderr.isatty():
        yield lambda newest: print(clean(newest), file=sys.stderr, flush=True)
        return
    with err().status(clean(text)) as spinner:
        yield lambda newest: spinner.update(clean(newest))
