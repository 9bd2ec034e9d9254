from __future__ import annotations

import pytest

from vllm_operator.cli import completion
from vllm_operator.cli.group import COMMANDS


def test_first_word_completes_to_the_commands() -> None:
    *lines, directive = completion.kubectl_answer([""]).splitlines()
    assert [line.partition("\t")[0] for line in lines] == list(COMMANDS)
    assert directive == ":4"


def test_options_of_a_command_are_completed() -> None:
    answer = completion.kubectl_answer(["render", "--fil"])
    assert answer.startswith("--filename\t")


def test_file_is_left_to_the_shell() -> None:
    assert completion.kubectl_answer(["render", "-f", ""]).splitlines()[-1] == ":0"


def test_values_of_a_choice_are_completed() -> None:
    assert completion.kubectl_answer(["render", "-o", ""]).splitlines() == ["yaml", "json", ":4"]


def test_error_completes_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(completion, "kubectl_answer", lambda words: 1 / 0)
    completion.main()
    assert capsys.readouterr().out == ":4\n"
