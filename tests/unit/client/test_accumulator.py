from __future__ import annotations

import pytest

from vllm_operator.client.accumulator import MAX_CHOICES, Accumulator
from vllm_operator.client.parsing import chat_delta, text_delta


def chunk(index: int = 0, finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"id": "a", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_pieces_become_the_whole_answer() -> None:
    found = Accumulator(chat_delta)
    shown = [found.add(chunk(content="")), found.add(chunk(content="a")), found.add(chunk(content="b", finish="stop"))]
    found.add({"id": "a", "model": "m", "choices": [], "usage": {"completion_tokens": 2}})

    whole = found.whole(2.0, 1.0, 1, "http://a")

    assert [len(deltas) for deltas in shown] == [0, 1, 1], "a delta without content is left out"
    assert (whole.content, whole.finish_reason, whole.time_to_first_token) == ("ab", "stop", 1.0)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 2


def test_tool_calls_come_in_pieces() -> None:
    found = Accumulator(chat_delta)
    found.add(chunk(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"a"'}}]))
    found.add(chunk(tool_calls=[{"index": 1, "id": "2", "function": {"name": "g", "arguments": "{}"}}]))
    found.add(chunk(finish="tool_calls", tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]))

    calls = found.whole(1, None, 1, "").tool_calls

    assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
        ("1", "f", '{"a":1}'),
        ("2", "g", "{}"),
    ]


def test_answer_is_complete_when_each_choice_has_ended() -> None:
    found = Accumulator(chat_delta)
    assert not found.is_complete
    found.add(chunk(0, "stop", content="a"))
    found.add(chunk(1, content="b"))
    assert not found.is_complete
    found.add(chunk(1, "length"))

    assert found.is_complete
    assert found.content == "a"


def test_choices_are_bounded() -> None:
    found = Accumulator(chat_delta)

    for index in range(MAX_CHOICES):
        found.add(chunk(index, content="a"))
    with pytest.raises(ValueError, match="more than 1024 choices"):
        found.add(chunk(MAX_CHOICES, content="a"))


def test_choice_that_the_engine_ended_is_aborted() -> None:
    accumulator = Accumulator(chat_delta)
    for reason in (None, "abort"):
        choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": reason}
        accumulator.add({"id": "1", "model": "tiny", "choices": [choice]})
        assert accumulator.is_aborted is (reason == "abort")


def test_first_token_of_a_text_may_be_a_part_of_a_character() -> None:
    text = Accumulator(text_delta)
    assert text.add({"id": "a", "model": "m", "choices": []}) == []
    assert not text.has_token
    assert text.add({"id": "a", "model": "m", "choices": [{"index": 0, "text": ""}]}) == []
    assert text.has_token
    chat = Accumulator(chat_delta)
    chat.add(chunk(content="", role="assistant"))
    assert not chat.has_token
    chat.add(chunk(content="a"))
    assert chat.has_token
