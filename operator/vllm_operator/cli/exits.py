"""Exit codes of the plugin, and the errors that end a command with one of them."""

from __future__ import annotations

OK = 0
"""The command did what it was asked for."""

FAILED = 1
"""The answer is no: a manifest is refused, a server is not Ready, a check failed, a request failed."""

USAGE = 2
"""The command line is wrong; click uses the same code."""

UNAVAILABLE = 3
"""The cluster cannot be used: no kubeconfig, no answer, credentials or rights that are refused, no CRD."""

NOT_FOUND = 4
"""The cluster has no object with this name."""

DEFECT = 70
"""The plugin itself failed: EX_SOFTWARE of sysexits.h."""

INTERRUPTED = 130
"""The user pressed ctrl-C: 128 + SIGINT, as shells report it."""

MEANINGS: dict[int, str] = {
    OK: "the command did what it was asked for",
    FAILED: "the answer is no: a manifest is refused, a server is not Ready, a check or a request failed",
    USAGE: "the command line is wrong",
    UNAVAILABLE: "the cluster cannot be used: no kubeconfig, no answer, refused credentials, a missing right or CRD",
    NOT_FOUND: "the cluster has no object with this name",
    DEFECT: "the plugin itself failed: please report it",
    INTERRUPTED: "the user pressed ctrl-C",
}


class CliError(Exception):
    """A command cannot go on. The message names the cause and the remedy.

    Args:
        message: one or more lines for the user.
        code: exit code of the process.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
