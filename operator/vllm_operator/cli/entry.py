"""The entry point `kubectl-vllm`: run a command, and turn errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

import click

from vllm_operator.cli.exits import DEFECT, FAILED, INTERRUPTED, CliError
from vllm_operator.cli.group import COMPLETE_VARIABLE, PROGRAM, root

TRACEBACK_VARIABLE = "KUBECTL_VLLM_TRACEBACK"
"""Environment variable that shows the traceback of a defect."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the plugin and end the process."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the plugin; return its exit code (`exits.MEANINGS`)."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding gets `?` for a character that it does not have, and no error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = root.main(args=list(arguments), prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CliError as error:
        _say(f"error: {error.message}")
        return error.code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the pipe ended, as `head` does.
        _discard_output()
        return 128 + 13  # SIGPIPE
    except Exception as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    """Print an error that no command expects; return its exit code."""
    if isinstance(error, OSError):
        # Such as a disk that is full behind standard output.
        _say(f"error: {error.filename or 'reading or writing failed'}: {error.strerror or error}")
        _discard_output()
        return FAILED
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    _say(
        f"error: the plugin failed, which is a defect: {type(error).__name__}: {str(error)[:500]!r}: please report "
        f"it with the output of the same command and {TRACEBACK_VARIABLE}=1"
    )
    return DEFECT


def _discard_output() -> None:
    """Let what is still to be written to standard output be lost: Python reports the error again at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    click.echo(text, err=True)


if __name__ == "__main__":
    main()
