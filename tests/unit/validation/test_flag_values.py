"""Values of flags, judged by the definition of a flag alone; `test_flag_checks` shows the messages of a whole spec."""

from __future__ import annotations

import pytest

from vllm_operator.validation.flag_values import misuse
from vllm_operator.vllm.cli_parser import CliParser
from vllm_operator.vllm.releases import FlagSpec

PARSER = CliParser(
    {
        "--number": FlagSpec("--number", kind="integer", keywords=("auto",)),
        "--switch": FlagSpec("--switch", nargs=0, negatable=True, opposites=("--unswitch",)),
        "--choice": FlagSpec("--choice", choices=("a", "b")),
        "--many": FlagSpec("--many", nargs="+"),
    }
)

ROWS = [
    (["--number", "7"], ""),
    (["--number=auto"], ""),
    (["--number=$(N)"], ""),
    (["--number=x"], '--number needs a whole number, not "x"'),
    (["--number"], "--number needs a value"),
    (["--switch"], ""),
    (["--unswitch"], ""),
    (["--switch=no"], "--switch is a switch and takes no value: write --no-switch"),
    (["--unswitch=no"], "--unswitch is a switch and takes no value: write --switch"),
    (["--choice=A"], ""),
    (["--choice=c"], '--choice must be one of a, b, not "c"'),
    (["--many"], "--many needs a value"),
]


@pytest.mark.parametrize(("arguments", "error"), ROWS)
def test_values_are_judged_by_the_definition_of_the_flag(arguments: list[str], error: str) -> None:
    assert misuse(PARSER.parse(arguments)[0]) == error
