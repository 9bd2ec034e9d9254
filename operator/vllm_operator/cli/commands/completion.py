"""`kubectl vllm completion`."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")

KUBECTL_COMPLETE = """#!/bin/sh
# kubectl calls this program to complete `kubectl vllm`: save it as kubectl_complete-vllm in a folder of PATH.
exec kubectl-vllm completion kubectl -- "$@"
"""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("shell", type=click.Choice([*SHELLS, "script", "kubectl"]))
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(shell: str, words: tuple[str, ...]) -> None:
    """Print the script that completes commands and names in a shell.

    For `kubectl-vllm`, load the script of your shell: `source <(kubectl-vllm completion bash)`.

    For `kubectl vllm`, kubectl calls a program `kubectl_complete-vllm`, which pip installs with the plugin. `completion
    script` prints it for other ways to install. `completion kubectl -- WORDS` answers kubectl.
    """
    if shell == "script":
        click.echo(KUBECTL_COMPLETE, nl=False)
    elif shell == "kubectl":
        from vllm_operator.cli.completion import kubectl_answer

        click.echo(kubectl_answer(words))
    else:
        from click.shell_completion import get_completion_class

        from vllm_operator.cli.group import COMPLETE_VARIABLE, root

        completer = get_completion_class(shell)
        assert completer is not None, "click has a class for each of SHELLS"
        click.echo(completer(root, {}, "kubectl-vllm", COMPLETE_VARIABLE).source())
