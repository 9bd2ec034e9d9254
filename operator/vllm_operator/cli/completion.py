"""Completion of `kubectl vllm` in a shell: kubectl calls `kubectl_complete-vllm` with the words so far."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from click.shell_completion import ShellComplete

from vllm_operator.cli.group import COMPLETE_VARIABLE, PROGRAM, root
from vllm_operator.cli.sanitize import clean

NO_FILES, FILES = 4, 0
"""Directives of cobra, which kubectl reads from the last line: ShellCompDirectiveNoFileComp and -Default
(github.com/spf13/cobra/completions.go)."""


def kubectl_answer(words: Sequence[str]) -> str:
    """Return the completions of the last word, one a line with its help, and cobra's directive."""
    *before, last = words or [""]
    items = ShellComplete(root, {}, PROGRAM, COMPLETE_VARIABLE).get_completions(list(before), last)
    plain = [item for item in items if item.type == "plain"]
    lines = [f"{clean(item.value)}\t{clean(item.help)}" if item.help else clean(item.value) for item in plain]
    directive = FILES if len(plain) < len(items) else NO_FILES
    return "\n".join([*lines, f":{directive}"])


def main() -> None:
    """Answer kubectl: the entry point `kubectl_complete-vllm`. An error completes nothing."""
    try:
        print(kubectl_answer(sys.argv[1:]))
    except Exception:
        print(f":{NO_FILES}")
