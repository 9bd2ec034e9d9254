from __future__ import annotations

import pytest

from vllm_operator.client import Choice, CompletionResponse, EmbeddingResponse, Usage
from vllm_operator.client.responses import Embedding


def response(**changes: object) -> CompletionResponse:
    values: dict[str, object] = {
        "id": "a",
        "model": "m",
        "choices": (Choice(content="x", reasoning="r", finish_reason="stop"),),
        "usage": Usage(completion_tokens=11),
        "latency": 2.0,
    }
    return CompletionResponse(**(values | changes))  # type: ignore[arg-type]


def test_answer_is_that_of_the_first_choice() -> None:
    found = response()

    assert (found.content, found.reasoning, found.finish_reason, found.tool_calls) == ("x", "r", "stop", ())
    assert found.latency_ms == 2000


def test_speed_of_a_stream_counts_from_its_first_token() -> None:
    assert response().tokens_per_second == 5.5
    assert response(time_to_first_token=1.0).tokens_per_second == 10


@pytest.mark.parametrize("changes", [{"usage": None}, {"latency": 0.0}, {"time_to_first_token": 2.0}])
def test_unknown_speed_is_none(changes: dict[str, object]) -> None:
    assert response(**changes).tokens_per_second is None


def test_answer_without_choices_is_empty() -> None:
    found = response(choices=())

    assert (found.content, found.reasoning, found.finish_reason, found.tool_calls) == ("", None, None, ())


def test_vectors_are_in_order() -> None:
    assert EmbeddingResponse(model="m", data=(Embedding(index=0, embedding=(1.0,)),)).vectors == [(1.0,)]
