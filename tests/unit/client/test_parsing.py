from __future__ import annotations

import pytest

from vllm_operator.client import Choice, InvalidResponse, ToolCall
from vllm_operator.client.messages import FunctionCall
from vllm_operator.client.parsing import chat_delta, chat_fields, describe, json_object, text_delta, usage_of


@pytest.mark.parametrize("body", [b"", b"{", b"\xff{}", b"[1]", b"null", b"<html>", b"[" * 100_000])
def test_answers_without_a_json_object_are_named(body: bytes) -> None:
    with pytest.raises(InvalidResponse, match="http://a answers 200"):
        json_object(body, "http://a")


def test_tool_calls_and_reasoning_are_read() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "message": {"content": None, "tool_calls": [call], "reasoning": "hm"}, "finish_reason": "x"}

    found = Choice.model_validate(chat_fields(choice))

    assert found.content == ""
    assert found.reasoning == "hm"
    assert found.tool_calls == (ToolCall(id="1", function=FunctionCall(name="f", arguments="{}")),)


def test_reasoning_of_older_servers_is_read() -> None:
    assert chat_fields({"message": {"content": "a", "reasoning_content": "hm"}})["reasoning"] == "hm"
    assert chat_delta({"delta": {"reasoning_content": "hm"}}).reasoning == "hm"


def test_pieces_of_tool_calls_are_read() -> None:
    found = chat_delta({"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}})

    assert [(call.index, call.id, call.name, call.arguments) for call in found.tool_calls] == [(1, None, None, "{")]


def test_usage_with_details_is_read() -> None:
    found = usage_of(
        {
            "prompt_tokens": 5,
            "completion_tokens": None,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
    )

    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens, found.reasoning_tokens) == (5, 0, 4, 2)
    assert usage_of(None) is None


def test_missing_field_is_named() -> None:
    with pytest.raises(KeyError) as caught:
        text_delta({})

    assert describe(caught.value) == "'text' is missing"
