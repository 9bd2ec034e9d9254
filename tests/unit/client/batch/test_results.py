"""Results, and their records."""

from __future__ import annotations

import pytest

from vllm_operator.client.answers import chat_response
from vllm_operator.client.batch.errors import BatchFileError, EarlierFailure
from vllm_operator.client.batch.records import Record, as_line, parse_line
from vllm_operator.client.batch.results import (
    BatchAnswer,
    BatchResult,
    answer_record,
    failure_record,
    operation_of,
    outcome_of,
    tokens_of,
)
from vllm_operator.client.errors import InvalidRequest, ServerAnswer, ServerFailed, TokenLimitExceeded
from vllm_operator.client.responses import CompletionResponse, EmbeddingResponse, Usage

BODY = {
    "id": "chatcmpl-1",
    "model": "tiny",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
URL = "/v1/chat/completions"


def answered() -> CompletionResponse:
    """Return an answer as a run got it."""
    response = outcome_of(Record("a", b"", True, 200, BODY), URL)
    assert isinstance(response, CompletionResponse)
    return response.model_copy(update={"latency": 1.25, "attempts": 3, "endpoint": "http://a"})


def test_answer_is_the_same_after_it_was_recorded() -> None:
    record = answer_record("a", b"f", BatchAnswer(BODY, answered()))

    assert record.is_final
    assert outcome_of(record, URL) == answered()


def test_error_in_the_request_is_final_and_keeps_the_servers_answer() -> None:
    error = TokenLimitExceeded("too long", answer=ServerAnswer(400, (), b'{"error": {"message": "too long"}}'))

    record = failure_record("a", b"f", error)

    assert (record.is_final, record.status, record.body) == (True, 400, {"error": {"message": "too long"}})
    outcome = outcome_of(record, URL)
    assert isinstance(outcome, EarlierFailure)
    assert (outcome.code, str(outcome), outcome.retryable) == ("TokenLimitExceeded", "too long", False)


@pytest.mark.parametrize("error", [ServerFailed("x", answer=ServerAnswer(500, (), b"<html>")), ValueError("bug")])
def test_other_errors_are_not_final(error: Exception) -> None:
    record = failure_record("a", b"f", error)

    assert (record.is_final, record.status, record.body) == (False, None, None)
    assert record.error == {"code": type(error).__name__, "message": str(error)}


def test_message_that_is_no_text_is_written_all_the_same() -> None:
    record = failure_record("a", b"f", ValueError("half \ud800 pair"))

    assert parse_line(as_line(record)) == record


def test_record_of_another_answer_names_the_request() -> None:
    with pytest.raises(BatchFileError, match="holds no answer of /v1/embeddings for 'a'"):
        outcome_of(Record("a", b"", True, 200, BODY), "/v1/embeddings")


@pytest.mark.parametrize("latency", [None, -1, "x", True, float("nan"), 1e300])
def test_figures_of_a_record_that_make_no_sense_are_left_out(latency: object) -> None:
    outcome = outcome_of(Record("a", b"", True, 200, BODY, details={"latency": latency}), URL)

    assert isinstance(outcome, CompletionResponse)
    assert outcome.latency == 0.0


def test_result_has_a_response_or_raises_its_error() -> None:
    good, bad = BatchResult(0, "a", answered()), BatchResult(1, None, InvalidRequest("no"))

    assert (good.ok, good.error, good.response) == (True, None, answered())
    assert (bad.ok, type(bad.error)) == (False, InvalidRequest)
    with pytest.raises(InvalidRequest, match="no"):
        _ = bad.response


@pytest.mark.parametrize(
    ("url", "operation"),
    [
        (URL, "chat"),
        ("/v1/completions", "completions"),
        ("/v1/embeddings", "embeddings"),
        ("/v2/rerank", "rerank"),
        ("/v1/score", "score"),
    ],
)
def test_operation_of_a_url(url: str, operation: str) -> None:
    assert operation_of(url)[0] == operation
    assert (operation_of(url)[1] is chat_response) == (operation == "chat")


def test_tokens_are_those_that_were_generated_or_else_those_of_the_prompt() -> None:
    assert tokens_of(answered()) == 2
    assert tokens_of(EmbeddingResponse(model="m", data=(), usage=Usage(prompt_tokens=9))) == 9
    assert tokens_of(EmbeddingResponse(model="m", data=())) == 0
    assert tokens_of(ValueError()) == 0
