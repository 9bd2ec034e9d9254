"""The options of requests, by name, as the API spells them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from vllm_operator.client.config import ClientConfig, Timeouts


class CallOptions(TypedDict, total=False):
    """Options of every call."""

    model: str
    """Name of the model instead of the client's."""
    timeout: float | Timeouts
    """Seconds for the whole call, or all timeouts, instead of the client's."""
    extra_headers: Mapping[str, str]
    """Headers of this call."""
    extra_body: Mapping[str, Any]
    """Fields of the body that are not listed here, such as vLLM's own; they win over the others."""


class SamplingOptions(CallOptions, total=False):
    """Options of chats and completions. None leaves a value to the server, and so does an option that is not given."""

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    n: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    repetition_penalty: float | None
    min_tokens: int | None
    ignore_eos: bool | None
    logit_bias: Mapping[str, float] | Mapping[int, float] | None
    priority: int | None
    user: str | None
    structured_outputs: Mapping[str, Any] | None


class ChatOptions(SamplingOptions, total=False):
    """Options of a chat."""

    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    reasoning_effort: str | None
    logprobs: bool | None
    top_logprobs: int | None
    chat_template_kwargs: Mapping[str, Any] | None


class CompletionOptions(SamplingOptions, total=False):
    """Options of a completion."""

    echo: bool | None
    suffix: str | None
    logprobs: int | None
    response_format: Mapping[str, Any] | None


NOT_IN_BODY = frozenset(CallOptions.__annotations__)


def body_of(kind: type[CallOptions], options: Mapping[str, Any], config: ClientConfig | None = None) -> dict[str, Any]:
    """Return the fields of the body that options ask for, with the defaults of a configuration.

    Raises:
        TypeError: an option is not known.
    """
    known = kind.__annotations__
    if not options.keys() <= known.keys():
        raise TypeError(_unknown(next(name for name in options if name not in known), known))
    body: dict[str, Any] = {}
    if config is not None:
        body = {"max_tokens": config.max_tokens, "temperature": config.temperature, "top_p": config.top_p}
    body.update(options)
    # None is left out, 0 and 0.0 are not: `temperature=0.0` asks for greedy decoding.
    return {name: value for name, value in body.items() if value is not None and name not in NOT_IN_BODY}


def _unknown(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "fields that only the server knows go into extra_body"
    return f"unexpected option {name!r}: {hint}"
