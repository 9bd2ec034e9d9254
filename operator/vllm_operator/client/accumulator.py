"""Builds the whole answer from the pieces of a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from vllm_operator.client.messages import FunctionCall, ToolCall
from vllm_operator.client.parsing import UNFINISHED, Json, text_delta, usage_of
from vllm_operator.client.responses import Choice, CompletionResponse, Delta, ToolCallDelta, Usage

MAX_CHOICES = 1024
"""Choices of one stream, and calls of tools within a choice, that are kept apart."""


@dataclass(slots=True)
class PartialToolCall:
    """A call of a tool while it arrives."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, delta: ToolCallDelta) -> None:
        """Add a piece."""
        self.id = self.id or delta.id or ""
        self.name = self.name or delta.name or ""
        self.arguments.append(delta.arguments)


@dataclass(slots=True)
class PartialChoice:
    """A choice while it arrives."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: dict[int, PartialToolCall] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, delta: Delta) -> None:
        """Add a piece."""
        if delta.content:
            self.content.append(delta.content)
        if delta.reasoning:
            self.reasoning.append(delta.reasoning)
        for call in delta.tool_calls:
            if call.index in self.tool_calls or len(self.tool_calls) < MAX_CHOICES:
                self.tool_calls.setdefault(call.index, PartialToolCall()).add(call)
        self.finish_reason = delta.finish_reason or self.finish_reason

    def whole(self, index: int) -> Choice:
        """Return the choice."""
        calls = (self.tool_calls[number] for number in sorted(self.tool_calls))
        return Choice(
            index=index,
            content="".join(self.content),
            reasoning="".join(self.reasoning) or None,
            tool_calls=tuple(
                ToolCall(id=call.id, function=FunctionCall(name=call.name, arguments="".join(call.arguments)))
                for call in calls
            ),
            finish_reason=self.finish_reason,
        )


class Accumulator:
    """Collects the chunks of one stream.

    Attributes:
        usage: counts of tokens; None before they came.
        has_token: a token has arrived; its text may still be empty.
    """

    def __init__(self, to_delta: Callable[[Json], Delta]) -> None:
        self._to_delta = to_delta
        self._choices: dict[int, PartialChoice] = {}
        self._id = ""
        self._model = ""
        self._created: int | None = None
        self.usage: Usage | None = None
        self.has_token = False

    @property
    def content(self) -> str:
        """The text of the first choice so far."""
        return "".join(self._choices[0].content) if 0 in self._choices else ""

    @property
    def is_complete(self) -> bool:
        """True if each choice that began has its finish reason."""
        return bool(self._choices) and all(choice.finish_reason for choice in self._choices.values())

    @property
    def is_aborted(self) -> bool:
        """True if the engine ended a choice early."""
        return any(choice.finish_reason in UNFINISHED for choice in self._choices.values())

    def add(self, chunk: Json) -> list[Delta]:
        """Return the deltas of a chunk, those without any content left out.

        Raises:
            KeyError, TypeError, ValueError: the chunk is not one of vLLM.
        """
        if not self._id:
            self._id, self._model, self._created = str(chunk["id"]), str(chunk["model"]), chunk.get("created")
        if (usage := chunk.get("usage")) is not None:
            self.usage = usage_of(usage)
        deltas = [delta for delta in map(self._to_delta, chunk["choices"]) if self._counts(delta)]
        # Each chunk of a completion has a token, if only a part of a character. The first one of a chat has a role.
        self.has_token = self.has_token or bool(deltas) or (self._to_delta is text_delta and bool(chunk["choices"]))
        return deltas

    def _counts(self, delta: Delta) -> bool:
        choice = self._choices.get(delta.index)
        if choice is None:
            choice = self._new_choice(delta.index)
        choice.add(delta)
        return bool(delta.content or delta.reasoning or delta.tool_calls or delta.finish_reason)

    def _new_choice(self, index: int) -> PartialChoice:
        if len(self._choices) >= MAX_CHOICES:
            raise ValueError(f"more than {MAX_CHOICES} choices")
        choice = self._choices[index] = PartialChoice()
        return choice

    def whole(
        self, latency: float, time_to_first_token: float | None, attempts: int, endpoint: str
    ) -> CompletionResponse:
        """Return the whole answer."""
        return CompletionResponse(
            id=self._id,
            model=self._model,
            created=self._created,
            choices=tuple(self._choices[index].whole(index) for index in sorted(self._choices)),
            usage=self.usage,
            latency=latency,
            time_to_first_token=time_to_first_token,
            attempts=attempts,
            endpoint=endpoint,
        )
