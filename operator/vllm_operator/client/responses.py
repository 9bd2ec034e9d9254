"""The answers of a server, as typed values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from vllm_operator.client.messages import ToolCall


class ResponseModel(BaseModel):
    """A frozen part of an answer; fields that this library does not know are dropped."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Usage(ResponseModel):
    """Tokens of a request, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    """Tokens of the prompt that came from the prefix cache. None: the server did not say."""
    reasoning_tokens: int | None = None
    """Tokens of the reasoning. None: the server did not say."""


class Choice(ResponseModel):
    """One of the answers to a request: there are several when `n` is above 1."""

    index: int = 0
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: Any = None


class CompletionResponse(ResponseModel):
    """The answer to a chat or a completion. Content, tool calls and finish reason are those of the first choice."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    """None: the server did not count."""
    created: int | None = None
    """Time at which the server made the answer, in seconds since 1970."""
    latency: float
    """Seconds from the call to the whole answer, retries included."""
    time_to_first_token: float | None = None
    """Seconds from the call to the first token. None: the answer was not streamed."""
    attempts: int = 1
    """Attempts that it took."""
    endpoint: str = ""
    """Base URL that answered."""

    @property
    def content(self) -> str:
        """The text of the answer; empty when the model only calls tools."""
        return self.choices[0].content if self.choices else ""

    @property
    def reasoning(self) -> str | None:
        """The reasoning before the answer, from a server with a reasoning parser."""
        return self.choices[0].reasoning if self.choices else None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Calls of tools by the model."""
        return self.choices[0].tool_calls if self.choices else ()

    @property
    def finish_reason(self) -> str | None:
        """Why the model ended: `stop`, `length`, `tool_calls`."""
        return self.choices[0].finish_reason if self.choices else None

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the call to the whole answer."""
        return self.latency * 1000

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens a second, after the first one for a stream. None: usage or time is unknown."""
        if self.usage is None or self.latency <= 0:
            return None
        if self.time_to_first_token is None:
            return self.usage.completion_tokens / self.latency
        seconds = self.latency - self.time_to_first_token
        tokens = self.usage.completion_tokens - 1
        return tokens / seconds if seconds > 0 and tokens > 0 else None


class ToolCallDelta(ResponseModel):
    """A piece of a call of a tool: pieces with the same index belong together."""

    index: int = 0
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Delta(ResponseModel):
    """A piece of a streamed answer."""

    index: int = 0
    """Index of the choice that it belongs to."""
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: str | None = None
    logprobs: Any = None
    restarted: bool = False
    """The stream started again: everything before this delta is void."""


class Embedding(ResponseModel):
    """The vector of one input."""

    index: int
    embedding: tuple[float, ...]


class EmbeddingResponse(ResponseModel):
    """The vectors of all inputs, in their order."""

    model: str
    data: tuple[Embedding, ...]
    usage: Usage | None = None
    latency: float = 0.0

    @property
    def vectors(self) -> list[tuple[float, ...]]:
        """The vectors in the order of the inputs."""
        return [item.embedding for item in self.data]


class RerankResult(ResponseModel):
    """One document with its relevance."""

    index: int
    """Position of the document in the request."""
    relevance_score: float
    text: str | None = None


class RerankResponse(ResponseModel):
    """Documents in the order of their relevance, the best first."""

    model: str
    results: tuple[RerankResult, ...]
    usage: Usage | None = None
    latency: float = 0.0


class ScoreResponse(ResponseModel):
    """Scores of pairs of texts, in the order of the pairs."""

    model: str
    scores: tuple[float, ...]
    usage: Usage | None = None
    latency: float = 0.0


class TokenizeResponse(ResponseModel):
    """The tokens of a text or of a conversation."""

    count: int
    max_model_len: int
    tokens: tuple[int, ...]
    token_strs: tuple[str, ...] | None = None


class ModelInfo(ResponseModel):
    """A model that a server offers."""

    id: str
    root: str | None = None
    """Path or repository of its weights."""
    parent: str | None = None
    """Base model of an adapter. None: it is a base model."""
    max_model_len: int | None = None
    created: int | None = None
    owned_by: str | None = None


class HealthReport(ResponseModel):
    """The result of a check of one endpoint."""

    endpoint: str
    healthy: bool
    reason: str = ""
    """Why it is not healthy."""
    models: tuple[str, ...] = ()
    """Models that it lists."""
