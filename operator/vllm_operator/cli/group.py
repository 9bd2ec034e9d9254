"""The command group of the plugin. A command's module is imported when it is used, so that `--help` stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import click
from click.shell_completion import CompletionItem

from vllm_operator import __version__
from vllm_operator.cli.exits import MEANINGS

PROGRAM = "kubectl vllm"
COMPLETE_VARIABLE = "_KUBECTL_VLLM_COMPLETE"
"""Environment variable by which the scripts of click's completion call the program."""

COMMANDS_PACKAGE = "vllm_operator.cli.commands"

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Before a server runs": {
        "plan": "Compute the memory of a model in vLLM, and the tokens of its KV cache.",
        "render": "Print the objects that the operator would create for a manifest, or why it is refused.",
        "check": "Go through the production checklist, item by item, with evidence and remedy.",
        "convert": "Convert what other projects use to run vLLM into VLLMServers.",
    },
    "See": {
        "get": "List servers with the replicas that really serve, and the cause of what is wrong.",
        "status": "Show the tree of a server: conditions, revisions, replicas with their load, autoscaler.",
        "top": "Watch the load of servers: requests that run and wait, KV cache, tokens a second.",
        "logs": "Print the cause of what is wrong, then the log of the container that explains it.",
        "wait": "Wait until servers are Ready; end at once with the cause when one is Stalled.",
    },
    "Use": {
        "chat": "Chat with a server through a port-forward, with the API key from its Secret.",
        "complete": "Let a server continue a text through a port-forward, with the API key from its Secret.",
        "bench": "Measure a server under load: latency, time to the first token and per token, throughput, queue.",
    },
    "Find out what is wrong": {
        "doctor": "Say what is wrong with servers, gateways and the operator, and what to do.",
        "report": "Write a zip of manifests, statuses, logs and Events for a bug report, with secrets removed.",
    },
    "Change": {
        "scale": "Change the number of replicas, or the bounds of the autoscaler.",
        "pause": "Let the operator leave all objects of a server unchanged; its status goes on.",
        "resume": "Let the operator manage the objects of a paused server again.",
        "restart": "Replace all replicas of a server, by its rollout settings.",
    },
    "Settings": {
        "completion": "Print the script that completes commands and names in a shell.",
    },
}
"""Heading of the help -> command -> its one-line help.

The module of command `x-y` is `x_y` in `cli/commands`; its click command is named `command`. A test compares the
lines here with the help of the commands."""

COMMANDS: Mapping[str, str] = {name: text for section in SECTIONS.values() for name, text in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None if there is none with this name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{COMMANDS_PACKAGE}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the arguments.

        Raises:
            click.UsageError: there is no such command; the message names the nearest one.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {name[:80]!r}{nearest(name, list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the completions of an option or of a command's name, without importing the commands."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their help, by section, without importing them."""
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()), col_max=14)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in MEANINGS.items()])


def nearest(name: str, known: Sequence[str]) -> str:
    """Return `: did you mean X?` for the known name that is most like `name`; empty if none is alike."""
    found = get_close_matches(name[:253], known, n=1)
    return f": did you mean {found[0]!r}?" if found else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name=PROGRAM)
def root() -> None:
    """Check, watch and use the VLLMServers of a cluster."""
