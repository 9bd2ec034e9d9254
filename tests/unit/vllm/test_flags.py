"""vLLM's flags in plain arguments, found like argparse finds them."""

from __future__ import annotations

import argparse
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.vllm.arguments import completable_flags
from vllm_operator.vllm.flags import SHORT_OPTIONS, Flag, read_flags

KNOWN = ("--max-model-len", "--max-num-seqs", "--max-num-batched-tokens", "--served-model-name", "--enable-x", "--cfg")


def read(*arguments: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(flag.name, flag.values) for flag in read_flags(arguments, KNOWN)]


ROWS: list[tuple[str, list[str], list[tuple[str, tuple[str, ...]]]]] = [
    ("a value may follow", ["--max-model-len", "8192"], [("--max-model-len", ("8192",))]),
    ("a value may be bound", ["--max-model-len=8192"], [("--max-model-len", ("8192",))]),
    ("a bound value may hold equals signs", ["--cfg=a=b"], [("--cfg", ("a=b",))]),
    ("a bound value may be empty", ["--cfg="], [("--cfg", ("",))]),
    ("an empty value may follow", ["--cfg", ""], [("--cfg", ("",))]),
    ("a bound value is the only one", ["--cfg=a", "b"], [("--cfg", ("a",))]),
    ("underscores are dashes", ["--max_model_len=1"], [("--max-model-len", ("1",))]),
    ("underscores of a value stay", ["--served-model-name", "a_b"], [("--served-model-name", ("a_b",))]),
    ("a flag may have no value", ["--enable-x", "--cfg"], [("--enable-x", ()), ("--cfg", ())]),
    ("a unique prefix is its flag", ["--served=a"], [("--served-model-name", ("a",))]),
    ("an ambiguous prefix is no flag of ours", ["--max-num=1"], [("--max-num", ("1",))]),
    ("a longer flag is another flag", ["--max-model-lens=1"], [("--max-model-lens", ("1",))]),
    ("an unknown flag is read too", ["--new", "1"], [("--new", ("1",))]),
    ("a key of a JSON flag belongs to it", ["--cfg.a.b=1"], [("--cfg", ("1",))]),
    ("underscores of a key stay out of it", ["--cfg.some_key", "1"], [("--cfg", ("1",))]),
    ("a short option is its flag", ["-tp", "2"], [("--tensor-parallel-size", ("2",))]),
    ("a short option may bind its value", ["-tp=2"], [("--tensor-parallel-size", ("2",))]),
    ("an unknown short option ends the values", ["--cfg", "a", "-O3"], [("--cfg", ("a",))]),
    ("a negative number is a value", ["--cfg", "-1"], [("--cfg", ("-1",))]),
    ("a negative fraction is a value", ["--cfg", "-.5", "-1.5"], [("--cfg", ("-.5", "-1.5"))]),
    ("two dashes make no number", ["--cfg", "--5"], [("--cfg", ()), ("--5", ())]),
    ("a lone dash is a value", ["--cfg", "-"], [("--cfg", ("-",))]),
    ("a text with a space is a value", ["--cfg", "-- be brief"], [("--cfg", ("-- be brief",))]),
    ("a text with a space behind equals is a flag", ["--cfg", "--x=a b"], [("--cfg", ()), ("--x", ("a b",))]),
    ("several values are kept", ["--served-model-name", "a", "b"], [("--served-model-name", ("a", "b"))]),
    ("JSON is a value", ["--cfg", '{"a": -1}'], [("--cfg", ('{"a": -1}',))]),
    ("values alone are no flags", ["a", "-1", "b=c"], []),
    ("nothing holds nothing", [], []),
]


@pytest.mark.parametrize(("arguments", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_reading(arguments: list[str], expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert read(*arguments) == expected


def test_negated_switch_is_its_switch() -> None:
    assert read_flags(["--no-enable-x"], KNOWN) == (Flag("--enable-x", (), 0, negated=True),)


def test_prefix_of_a_negated_switch_is_its_switch() -> None:
    assert read_flags(["--no-enable"], KNOWN) == (Flag("--enable-x", (), 0, negated=True),)


def test_position_is_that_of_the_flag() -> None:
    assert [flag.position for flag in read_flags(["--cfg", "a", "b", "--enable-x"], KNOWN)] == [0, 3]


def test_last_value_counts() -> None:
    assert read_flags(["--cfg", "a", "b"], KNOWN)[0].value == "b"
    assert read_flags(["--cfg"], KNOWN)[0].value is None


class Parser(argparse.ArgumentParser):
    """A parser that raises an exception where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parser() -> Parser:
    """Return a parser with the flags that the operator knows; each takes any number of values."""
    result = Parser(add_help=False)
    for flag in completable_flags():
        short = [option for option, full in SHORT_OPTIONS.items() if full == flag]
        result.add_argument(flag, *short, nargs="*", action="append", dest=flag)
    return result


# Neither may hold what argparse refuses: an ambiguous prefix, or a dash that is no flag of this parser.
VALUES = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.sampled_from(["", "-", "-0.5", "a b", "- a", "--x y", '{"a": [1, "-b"]}', "a=b"]),
)
FLAGS = st.sampled_from([*completable_flags(), *SHORT_OPTIONS])
PIECES = st.one_of(
    st.tuples(FLAGS, VALUES).map(lambda pair: [f"{pair[0]}={pair[1]}"]),
    st.tuples(FLAGS, st.lists(VALUES, max_size=3)).map(lambda pair: [pair[0], *pair[1]]),
)


@given(st.lists(PIECES, max_size=5))
def test_argparse_reads_the_same(pieces: list[list[str]]) -> None:
    arguments = [argument for piece in pieces for argument in piece]
    mine: dict[str, list[list[str]]] = {}
    for flag in read_flags(arguments, completable_flags()):
        mine.setdefault(flag.name, []).append(list(flag.values))

    namespace, unknown = parser().parse_known_args(arguments)

    assert unknown == []
    assert mine == {name: values for name, values in vars(namespace).items() if values is not None}


@given(st.sampled_from(completable_flags()), st.integers(3, 40), st.integers(0, 99))
def test_argparse_completes_the_same_prefixes(flag: str, length: int, value: int) -> None:
    argument = f"{flag[:length]}={value}"
    try:
        namespace = parser().parse_args([argument])
    except ValueError:
        assert read_flags([argument], completable_flags())[0].name not in completable_flags()
        return
    completed = next(name for name, values in vars(namespace).items() if values is not None)

    assert read_flags([argument], completable_flags())[0].name == completed


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_arguments_can_be_read(arguments: list[str]) -> None:
    for flag in read_flags(arguments, completable_flags()):
        assert arguments[flag.position].startswith("-")
