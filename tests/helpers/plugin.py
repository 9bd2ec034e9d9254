"""Run the kubectl plugin in this process, and keep what it prints."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from unittest import mock

from vllm_operator.cli.entry import run


@dataclass(frozen=True)
class Ended:
    """The end of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


class Terminal(io.StringIO):
    """A text buffer that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def plugin(
    *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None, terminal: bool = False
) -> Ended:
    """Run `kubectl vllm` with these arguments, as its entry point does."""
    output, errors = (Terminal(), Terminal()) if terminal else (io.StringIO(), io.StringIO())
    with (
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
        mock.patch.dict("os.environ", environment or {}),
    ):
        code = run(arguments)
    return Ended(code, output.getvalue(), errors.getvalue())
