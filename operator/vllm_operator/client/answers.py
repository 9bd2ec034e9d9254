"""Answers of a server as the typed values of the client."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from vllm_operator.client.errors import ServerFailed
from vllm_operator.client.executor import Call
from vllm_operator.client.parsing import UNFINISHED, Json, chat_fields, text_fields, usage_fields, usage_of
from vllm_operator.client.responses import (
    CompletionResponse,
    Embedding,
    EmbeddingResponse,
    ModelInfo,
    RerankResponse,
    RerankResult,
    ScoreResponse,
    TokenizeResponse,
)

FLOAT32_BYTES = 4


def chat_response(answer: Json, call: Call) -> CompletionResponse:
    """Return the answer to a chat."""
    return _completion(answer, call, chat_fields)


def text_response(answer: Json, call: Call) -> CompletionResponse:
    """Return the answer to a completion."""
    return _completion(answer, call, text_fields)


def _completion(answer: Json, call: Call, fields: Callable[[Json], dict[str, Any]]) -> CompletionResponse:
    choices = answer["choices"]
    if not choices:
        raise ValueError("choices is empty")
    if any(choice.get("finish_reason") in UNFINISHED for choice in choices):
        text = f"{call.endpoint}: the engine ended the request before its answer was complete"
        raise ServerFailed(text, endpoint=call.endpoint)
    # One validation of everything takes less time than one for each part.
    return CompletionResponse.model_validate(
        {
            "id": answer["id"],
            "model": answer["model"],
            "created": answer.get("created"),
            "choices": tuple(map(fields, choices)),
            "usage": usage_fields(answer.get("usage")),
            "latency": call.elapsed,
            "attempts": call.attempts,
            "endpoint": call.endpoint,
        }
    )


def embedding_response(answer: Json, call: Call) -> EmbeddingResponse:
    """Return the vectors of an answer, in the order of the inputs."""
    data = sorted(answer["data"], key=lambda item: item["index"])
    return EmbeddingResponse(
        model=answer["model"],
        data=tuple(Embedding(index=item["index"], embedding=_vector(item["embedding"])) for item in data),
        usage=usage_of(answer.get("usage")),
        latency=call.elapsed,
    )


def _vector(value: Any) -> tuple[float, ...]:
    """Return a vector: a list of numbers, or float32 values in base64 (`encoding_format`)."""
    if not isinstance(value, str):
        return tuple(value)
    data = base64.b64decode(value, validate=True)
    if len(data) % FLOAT32_BYTES:
        raise ValueError(f"embedding has {len(data)} bytes, which are no float32 values")
    return struct.unpack(f"<{len(data) // FLOAT32_BYTES}f", data)


def rerank_response(answer: Json, call: Call) -> RerankResponse:
    """Return the documents of an answer, the best first."""
    results = [
        RerankResult(index=item["index"], relevance_score=item["relevance_score"], text=_text_of(item.get("document")))
        for item in answer["results"]
    ]
    results.sort(key=lambda result: -result.relevance_score)
    return RerankResponse(
        model=answer["model"], results=tuple(results), usage=usage_of(answer.get("usage")), latency=call.elapsed
    )


def _text_of(document: Any) -> str | None:
    return document.get("text") if isinstance(document, dict) else document


def score_response(answer: Json, call: Call) -> ScoreResponse:
    """Return the scores of an answer, in the order of the pairs."""
    data = sorted(answer["data"], key=lambda item: item["index"])
    return ScoreResponse(
        model=answer["model"],
        scores=tuple(item["score"] for item in data),
        usage=usage_of(answer.get("usage")),
        latency=call.elapsed,
    )


def tokenize_response(answer: Json, _: Call) -> TokenizeResponse:
    """Return the tokens of an answer."""
    return TokenizeResponse.model_validate(answer)


def model_list(answer: Json, _: Call) -> tuple[ModelInfo, ...]:
    """Return the models that an answer lists."""
    return tuple(ModelInfo.model_validate(model) for model in answer["data"])
