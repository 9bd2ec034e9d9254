from __future__ import annotations

import subprocess
import sys

import click
import pytest

from tests.helpers.plugin import plugin
from vllm_operator.cli.group import COMMANDS, LazyGroup, root


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_the_table_is_that_of_the_command(name: str) -> None:
    assert isinstance(root, LazyGroup)
    command = root.get_command(click.Context(root), name)
    assert command is not None
    assert (command.help or "").partition("\n\n")[0].replace("\n", " ") == COMMANDS[name]


def test_help_imports_no_command() -> None:
    program = (
        "import sys; from vllm_operator.cli.entry import run; run(['--help']); "
        "print([name for name in sys.modules if name.startswith('vllm_operator.cli.commands.')"
        " or name.split('.')[0] in ('kubernetes', 'rich', 'pydantic', 'yaml', 'aiohttp')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(name in done.stdout for name in COMMANDS)


def test_unknown_command_names_the_nearest() -> None:
    ended = plugin("rendr")
    assert ended.code == 2
    assert "there is no command 'rendr': did you mean 'render'?" in ended.stderr


def test_help_lists_the_exit_codes() -> None:
    assert "the cluster has no object with this name" in plugin("--help").stdout
