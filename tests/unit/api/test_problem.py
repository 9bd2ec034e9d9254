"""Problems are bounded in length, and their number in a status."""

from __future__ import annotations

from tests.helpers.status_inputs import inputs, status_of
from vllm_operator.api.problem import MAX_MESSAGE_LENGTH, MAX_MESSAGES, Problem, problem_messages
from vllm_operator.diagnosis.log_text import MESSAGE_LENGTH


def test_long_message_is_cut() -> None:
    assert len(Problem("InvalidArgument", "x" * 1_000_000).message) == MAX_MESSAGE_LENGTH
    assert Problem("InvalidArgument", "short").message == "short"


def test_status_gives_the_first_problems_and_the_number_of_the_others() -> None:
    problems = [Problem("InvalidArgument", str(number)) for number in range(MAX_MESSAGES + 3)]
    assert problem_messages(problems[:2]) == ["0", "1"]
    assert problem_messages(problems)[MAX_MESSAGES - 1 :] == [str(MAX_MESSAGES - 1), "3 further problems"]


def test_secret_in_a_long_message_does_not_leak() -> None:
    for length in (900, 1000, 1500, 1530, 2000, 2040):
        problem = Problem("InvalidArgument", "x " * (length // 2) + "--hf-token hf_ExAmPleQwErTyUiOp" + " y" * 5000)
        message = status_of(inputs(problems=(problem,)))["message"]
        assert len(message) <= MESSAGE_LENGTH
        assert "ExAmPle" not in message
