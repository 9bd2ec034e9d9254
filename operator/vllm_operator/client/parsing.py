"""Typed answers from the JSON of a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from vllm_operator.client.errors import InvalidResponse
from vllm_operator.client.messages import FunctionCall, ToolCall
from vllm_operator.client.responses import Delta, ToolCallDelta, Usage

Json = Mapping[str, Any]
UNFINISHED = frozenset({"abort", "error"})
"""Finish reasons of vLLM for a request that its engine ended before the answer was complete, such as by a pause."""


def json_object(body: bytes, endpoint: str) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        InvalidResponse: it is no JSON in UTF-8, or no object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidResponse(
            f"{endpoint} answers 200 without valid JSON: {error}; is this a vLLM?", endpoint=endpoint
        ) from None
    if not isinstance(value, dict):
        raise InvalidResponse(
            f"{endpoint} answers 200 with a JSON {type(value).__name__} instead of an object", endpoint=endpoint
        )
    return value


def describe(error: Exception) -> str:
    """Return what is wrong with an answer, in a few words."""
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) and error.args else str(error)[:300]


def usage_of(value: object) -> Usage | None:
    """Return the usage of an answer; None when it has none."""
    fields = usage_fields(value)
    return None if fields is None else Usage.model_validate(fields)


def usage_fields(value: object) -> dict[str, Any] | None:
    """Return the fields of the usage of an answer; None when it has none."""
    # The JSON parser makes dicts only, and to recognize any Mapping takes much longer.
    if not isinstance(value, dict):
        return None
    prompt_details, completion_details = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    return {
        "prompt_tokens": value.get("prompt_tokens") or 0,
        "completion_tokens": value.get("completion_tokens") or 0,
        "total_tokens": value.get("total_tokens") or 0,
        "cached_tokens": prompt_details.get("cached_tokens") if isinstance(prompt_details, dict) else None,
        "reasoning_tokens": (
            completion_details.get("reasoning_tokens") if isinstance(completion_details, dict) else None
        ),
    }


def chat_fields(choice: Json) -> dict[str, Any]:
    """Return the fields of a `Choice` of a chat."""
    message = choice["message"]
    calls = message.get("tool_calls")
    return {
        "index": choice.get("index", 0),
        "content": message.get("content") or "",
        "reasoning": message.get("reasoning") or message.get("reasoning_content"),
        "tool_calls": tuple(_tool_call(call) for call in calls) if calls else (),
        "finish_reason": choice.get("finish_reason"),
        "logprobs": choice.get("logprobs"),
    }


def text_fields(choice: Json) -> dict[str, Any]:
    """Return the fields of a `Choice` of a completion."""
    return {
        "index": choice.get("index", 0),
        "content": choice["text"],
        "finish_reason": choice.get("finish_reason"),
        "logprobs": choice.get("logprobs"),
    }


def chat_delta(choice: Json) -> Delta:
    """Return a piece of a streamed chat."""
    delta = choice["delta"]
    calls = delta.get("tool_calls")
    return Delta(
        index=choice.get("index", 0),
        content=delta.get("content") or "",
        reasoning=delta.get("reasoning") or delta.get("reasoning_content"),
        tool_calls=tuple(_tool_call_delta(call) for call in calls) if calls else (),
        finish_reason=choice.get("finish_reason"),
        logprobs=choice.get("logprobs"),
    )


def text_delta(choice: Json) -> Delta:
    """Return a piece of a streamed completion."""
    return Delta(
        index=choice.get("index", 0),
        content=choice["text"],
        finish_reason=choice.get("finish_reason"),
        logprobs=choice.get("logprobs"),
    )


def _tool_call(call: Json) -> ToolCall:
    function = call["function"]
    return ToolCall(
        id=call.get("id") or "", function=FunctionCall(name=function["name"], arguments=function["arguments"])
    )


def _tool_call_delta(call: Json) -> ToolCallDelta:
    function = call.get("function") or {}
    return ToolCallDelta(
        index=call.get("index", 0),
        id=call.get("id"),
        name=function.get("name"),
        arguments=function.get("arguments") or "",
    )
