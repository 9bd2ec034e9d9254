"""Arguments are parsed like in the real release: what its parser accepts is accepted here."""

from __future__ import annotations

import argparse
import json
import re
from typing import NoReturn

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.helpers.specs import spec
from vllm_operator.validation.flag_checks import flags_exist, values_fit
from vllm_operator.vllm.arguments import OPERATOR_FLAGS
from vllm_operator.vllm.known_release import known_release
from vllm_operator.vllm.releases import FlagSpec, ReleaseNumber, load_release, release_numbers

CONVERT = {"text": str, "integer": int, "size": int, "number": float, "json": json.loads}
GOOD = {"text": ["a", "", "a b", "-1", "x=y"], "integer": ["7", "-1", " 8"], "size": ["8192"], "number": ["0.5", "-.5"]}
GOOD["json"] = ['{"a": 1}', "[]"]


class Parser(argparse.ArgumentParser):
    """A parser that raises an exception where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parser(number: ReleaseNumber) -> Parser:
    """Return the parser of a release, built by the standard library from its table."""
    result = Parser(prog="vllm", add_help=False)
    result.add_argument("-h", "--help", action="store_true")
    for flag in load_release(number).flags.values():
        names = (flag.name, *flag.aliases)
        if flag.negatable:
            result.add_argument(*names, action=argparse.BooleanOptionalAction)
        elif flag.nargs == 0:
            result.add_argument(*names, action="store_true")
        else:
            takes = None if flag.nargs == 1 else flag.nargs
            choices = list(map(CONVERT[flag.kind], flag.choices)) if flag.choices else None
            result.add_argument(*names, type=CONVERT[flag.kind], nargs=takes, choices=choices)
        if flag.opposites:
            result.add_argument(*flag.opposites, action="store_true")
    return result


PARSERS = {number: parser(number) for number in release_numbers()}


def accepted(number: ReleaseNumber, arguments: list[str]) -> bool:
    """Return whether argparse accepts the arguments; vLLM turns underscores of a flag into dashes first."""
    dashed = [re.sub(r"^--[^=.]*", lambda found: found[0].replace("_", "-"), item) for item in arguments]
    try:
        PARSERS[number].parse_args(dashed)
    except (ValueError, argparse.ArgumentError):
        return False
    return True


def refusals(number: ReleaseNumber, arguments: list[str]) -> list[str]:
    """Return the messages of the checks about the arguments."""
    asked = spec(version=".".join(map(str, number)), engine={"extraArgs": arguments})
    return [problem.message for check in (flags_exist, values_fit) for problem in check(asked)]


def values(flag: FlagSpec) -> st.SearchStrategy[str]:
    """Return values of the right kind."""
    return st.sampled_from(list(flag.choices) or GOOD[flag.kind])


@st.composite
def pieces(draw: st.DrawFn, number: ReleaseNumber) -> list[str]:
    """Return one flag with its values, in any way to write it."""
    flag = draw(st.sampled_from([one for one in load_release(number).flags.values() if one.name not in OPERATOR_FLAGS]))
    name = draw(
        st.sampled_from(
            [
                flag.name,
                *flag.aliases,
                *flag.opposites,
                *([f"--no-{flag.name.removeprefix('--')}"] if flag.negatable else []),
            ]
        )
    )
    if name.startswith("--"):
        name = name[: draw(st.integers(min(len(name), 6), len(name)))]
        name = draw(st.sampled_from([name, "--" + name[2:].replace("-", "_")]))
    if flag.nargs == 0:
        return [name]
    if draw(st.booleans()):
        return [f"{name}={draw(values(flag))}"]
    most = 3 if flag.nargs in {"+", "*"} else 1
    return [name, *draw(st.lists(values(flag), min_size=1, max_size=most))]


@given(st.sampled_from(release_numbers()), st.data())
@settings(max_examples=300, deadline=None)
def test_arguments_that_vllm_accepts_are_accepted(number: ReleaseNumber, data: st.DataObject) -> None:
    arguments = [item for piece in data.draw(st.lists(pieces(number), max_size=5)) for item in piece]
    assume(accepted(number, arguments))

    assert refusals(number, arguments) == []


NOISE = st.sampled_from(
    [
        "--",
        "-",
        "--x",
        "-x",
        "-1",
        "-tp",
        "-tp4",
        "-q8",
        "--max",
        "--no-",
        "--enforce-eager=1",
        "8",
        "a b",
        "--a b",
        "-O3",
    ]
)


@given(st.sampled_from(release_numbers()), st.data())
@settings(max_examples=300, deadline=None)
def test_arguments_that_vllm_accepts_among_noise_are_accepted(number: ReleaseNumber, data: st.DataObject) -> None:
    parts = st.one_of(NOISE.map(lambda item: [item]), pieces(number))
    arguments = [item for piece in data.draw(st.lists(parts, max_size=4)) for item in piece]
    assume(accepted(number, arguments))

    assert refusals(number, arguments) == []


@given(st.lists(st.text(max_size=12), max_size=6))
@settings(deadline=None)
def test_any_arguments_can_be_judged(arguments: list[str]) -> None:
    refusals((0, 32, 0), arguments)


ROWS = [
    ("a whole flag", ["--max-model-len", "8"], ("--max-model-len", ("8",), False)),
    ("a unique prefix among all flags", ["--max-num-batched-token=8"], ("--max-num-batched-tokens", ("8",), False)),
    ("a short name", ["-tp", "2"], ("--tensor-parallel-size", ("2",), False)),
    ("a short name with its value bound", ["-tp=2"], ("--tensor-parallel-size", ("2",), False)),
    ("a one-letter name with its value attached", ["-qawq"], ("--quantization", ("awq",), False)),
    ("a negated switch", ["--no-enable-prefix-caching"], ("--enable-prefix-caching", (), True)),
    ("underscores", ["--max_model_len=1_000"], ("--max-model-len", ("1_000",), False)),
    ("a key of a JSON flag", ["--compilation-config.pass_config.x", "-1"], ("--compilation-config", ("-1",), False)),
    ("a key of a JSON flag by its short name", ["-cc.mode=3"], ("--compilation-config", ("3",), False)),
    ("the level of optimization", ["-O3"], ("-O", ("3",), False)),
    ("several values", ["--lora-modules", "a=b", "c=d"], ("--lora-modules", ("a=b", "c=d"), False)),
    ("a switch takes nothing", ["--enforce-eager", "true"], ("--enforce-eager", (), False)),
]


@pytest.mark.parametrize(("arguments", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_reading(arguments: list[str], expected: tuple[str, tuple[str, ...], bool]) -> None:
    table = known_release(spec(version="0.32.0"))
    assert table
    first = table.cli_parser.parse(arguments)[0]

    assert first.flag
    assert (first.flag.name, first.values, first.negated) == expected
