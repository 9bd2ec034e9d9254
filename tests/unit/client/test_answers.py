from __future__ import annotations

import base64
import struct
import time

import pytest

from vllm_operator.client import Timeouts
from vllm_operator.client.answers import chat_response, embedding_response, rerank_response, score_response
from vllm_operator.client.executor import Call
from vllm_operator.client.hooks import RequestInfo

CALL = Call(RequestInfo("chat", "m", False, time.monotonic()), Timeouts(), None, attempts=2, endpoint="http://a")


def test_vectors_and_scores_are_in_the_order_of_the_inputs() -> None:
    vectors = {"model": "m", "data": [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1]}]}
    scores = {"model": "m", "data": [{"index": 1, "score": 0.2}, {"index": 0, "score": 0.1}]}

    assert embedding_response(vectors, CALL).vectors == [(1.0,), (2.0,)]
    assert score_response(scores, CALL).scores == (0.1, 0.2)


def test_vectors_in_base64_are_read() -> None:
    """As vLLM sends them for `encoding_format=base64`."""
    value = base64.b64encode(struct.pack("<3f", 0.5, -1.0, 2.0)).decode()

    found = embedding_response({"model": "m", "data": [{"index": 0, "embedding": value}]}, CALL)

    assert found.vectors == [(0.5, -1.0, 2.0)]


@pytest.mark.parametrize("value", ["AAA=", "not base64!", base64.b64encode(b"12345").decode()])
def test_vector_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        embedding_response({"model": "m", "data": [{"index": 0, "embedding": value}]}, CALL)


def test_documents_are_in_the_order_of_their_relevance() -> None:
    results = [
        {"index": 0, "relevance_score": 0.1, "document": {"text": "a"}},
        {"index": 1, "relevance_score": 0.9, "document": None},
    ]

    found = rerank_response({"model": "m", "results": results}, CALL)

    assert [(result.index, result.text) for result in found.results] == [(1, None), (0, "a")]


def test_answer_carries_attempts_and_endpoint() -> None:
    message = {"message": {"content": "x"}, "finish_reason": "stop"}

    found = chat_response({"id": "a", "model": "m", "choices": [message]}, CALL)

    assert (found.attempts, found.endpoint, found.usage) == (2, "http://a", None)
    with pytest.raises(ValueError, match="choices is empty"):
        chat_response({"id": "a", "model": "m", "choices": []}, CALL)
