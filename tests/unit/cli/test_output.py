from __future__ import annotations

import json
import sys

import pytest
import yaml

from tests.helpers.plugin import Terminal
from vllm_operator.cli.output import plain_lines, print_data, print_objects, print_table, without_managed_fields

BODIES = [{"kind": "VLLMServer", "metadata": {"name": "a", "managedFields": [{}]}}, {"metadata": {"name": "b"}}]


def test_pipe_gets_columns_without_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME", "MESSAGE"], [["a", "x\x1b[31my"], ["longer", None]])
    assert capsys.readouterr().out == "NAME     MESSAGE\na        xy\nlonger\n"


def test_terminal_gets_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    print_table(["NAME", "PHASE"], [["a", "Failed"]], {"Failed": "bold red"})
    assert "\x1b[1;31mFailed" in stream.getvalue()


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert plain_lines([["A", "B"], ["aaa", "b"]]) == ["A     B", "aaa   b"]


def test_names_are_printed_as_kubectl_does(capsys: pytest.CaptureFixture[str]) -> None:
    print_objects(BODIES, "name", single=False)
    assert capsys.readouterr().out.splitlines() == [
        "vllmserver.vllm-operator.dev/a",
        "vllmserver.vllm-operator.dev/b",
    ]


def test_one_object_is_printed_alone_and_several_as_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_objects(BODIES[:1], "json", single=True)
    assert json.loads(capsys.readouterr().out) == {"kind": "VLLMServer", "metadata": {"name": "a"}}
    print_objects(BODIES, "yaml", single=False)
    assert [body["metadata"]["name"] for body in yaml.safe_load(capsys.readouterr().out)["items"]] == ["a", "b"]


def test_data_holds_no_raw_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    for output in ("json", "yaml"):
        print_data({"a": "\x1b[2J\u202e"}, output)
        assert "\x1b" not in capsys.readouterr().out


def test_object_without_metadata_is_kept() -> None:
    assert without_managed_fields({"a": 1}) == {"a": 1, "metadata": {}}
