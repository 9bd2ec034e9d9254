from __future__ import annotations

import pytest

from vllm_operator.conversion.command import CommandLine, read_command_line


def read(command: list[str], args: list[str], starts: bool = True, **variables: str) -> CommandLine:
    return read_command_line(command, args, variables, entrypoint_starts_vllm=starts)


@pytest.mark.parametrize(
    ("command", "args", "arguments", "words"),
    [
        ([], ["--model", "a"], ("--model", "a"), ()),
        ([], [], (), ()),
        (["vllm", "serve"], ["a", "--seed=1"], ("a", "--seed=1"), ("vllm", "serve")),
        (["/opt/venv/bin/vllm", "serve", "a"], [], ("a",), ("/opt/venv/bin/vllm", "serve")),
        ([], ["vllm", "serve", "a"], ("a",), ("vllm", "serve")),
        ([], ["serve", "a"], ("a",), ("serve",)),
        (
            ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            ["--model=a"],
            ("--model=a",),
            ("python3", "-m", "vllm.entrypoints.openai.api_server"),
        ),
    ],
)
def test_command_lines_of_containers(command: list, args: list, arguments: tuple, words: tuple) -> None:
    line = read(command, args)
    assert (line.arguments, line.command, line.rest) == (arguments, words, ())


@pytest.mark.parametrize(
    ("script", "arguments", "rest"),
    [
        ("vllm serve a --x 'b c'", ("a", "--x", "b c"), ()),
        ("exec vllm serve a", ("a",), ("exec",)),
        ("cd /x && pip install y; vllm serve a --x=1 | tee log", ("a", "--x=1"), ("cd /x", "pip install y", "tee log")),
        ("FOO=1 vllm serve a", ("a",), ("FOO=1",)),
        ("vllm serve a \\\n  --x 1 \\\n  --y 2\n", ("a", "--x", "1", "--y", "2"), ()),
        (
            "python3 -m vllm.entrypoints.openai.api_server --model $MODEL --n ${N}",
            ("--model", "m/x", "--n", "$(N)"),
            (),
        ),
    ],
)
def test_command_lines_of_shells(script: str, arguments: tuple, rest: tuple) -> None:
    line = read(["/bin/sh", "-c"], [script], MODEL="m/x")
    assert line.arguments == arguments
    assert line.rest == rest
    assert line.shell


@pytest.mark.parametrize(
    ("command", "args", "starts"),
    [
        (["nginx"], ["-g", "daemon off;"], True),
        (["/bin/sh", "-c"], ["python train.py"], True),
        (["/bin/bash"], ["script.sh"], True),
        (["/bin/sh", "-c"], ["vllm serve 'a"], True),
        ([], ["python", "-m", "http.server"], False),
    ],
)
def test_other_programs_are_no_vllm(command: list, args: list, starts: bool) -> None:
    assert read(command, args, starts).arguments is None


def test_arguments_alone_are_vllms_also_for_an_unknown_image() -> None:
    assert read([], ["--model=a"], False).arguments == ("--model=a",)
