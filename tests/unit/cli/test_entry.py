from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from tests.helpers.plugin import plugin
from vllm_operator.cli import entry
from vllm_operator.cli.exits import INTERRUPTED, NOT_FOUND, CliError


def ending_with(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


def test_error_of_a_command_is_a_message_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "root", ending_with(CliError("no VLLMServer 'a'", NOT_FOUND)))
    ended = plugin()
    assert (ended.code, ended.stdout, ended.stderr) == (NOT_FOUND, "", "error: no VLLMServer 'a'\n")


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "root", ending_with(KeyboardInterrupt()))
    ended = plugin()
    assert ended.code == INTERRUPTED
    assert ended.stderr.strip() == "interrupted"


def test_closed_pipe_ends_quietly() -> None:
    program = f"{sys.executable} -m vllm_operator.cli.entry --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipeError" not in done.stderr


def test_terminal_of_another_encoding_gets_question_marks() -> None:
    command = [sys.executable, "-m", "vllm_operator.cli.entry", "rendr\u2026"]
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment})
    assert done.returncode == 2
    assert b"did you mean 'render'?" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
def test_full_disk_behind_the_output_is_no_defect() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "vllm_operator.cli.entry", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: reading or writing failed: No space left on device\n"
