"""The errors of the client, made from what real releases of vLLM answered (`tests/data/client`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.helpers.paths import DATA
from vllm_operator.client import errors
from vllm_operator.client.error_parsing import error_from_answer, error_from_event

RECORDINGS = {path.stem: json.loads(path.read_text())["exchanges"] for path in sorted((DATA / "client").glob("*.json"))}
EXPECTED: dict[str, type[errors.VLLMClientError]] = {
    "unknown model": errors.ModelNotFound,
    "unknown model in a stream": errors.ModelNotFound,
    "unknown model of a completion": errors.ModelNotFound,
    "unknown model of tokenize": errors.ModelNotFound,
    "prompt too long": errors.TokenLimitExceeded,
    "prompt too long in a stream": errors.TokenLimitExceeded,
    "prompt too long for a completion": errors.TokenLimitExceeded,
    "prompt and max_tokens too long": errors.TokenLimitExceeded,
    "max_tokens too large": errors.TokenLimitExceeded,
    "max_tokens too large for a completion": errors.TokenLimitExceeded,
    "embeddings too long": errors.TokenLimitExceeded,
    "max_tokens below zero": errors.InvalidRequest,
    "temperature below zero": errors.InvalidRequest,
    "temperature of text": errors.InvalidRequest,
    "top_p above one": errors.InvalidRequest,
    "n of zero": errors.InvalidRequest,
    "no messages": errors.InvalidRequest,
    "empty messages": errors.InvalidRequest,
    "empty prompt": errors.InvalidRequest,
    "too many logprobs": errors.InvalidRequest,
    "tools without a parser": errors.InvalidRequest,
    "image for a text model": errors.InvalidRequest,
    "bad schema": errors.InvalidRequest,
    "stream_options without a stream": errors.InvalidRequest,
    "body that is no JSON": errors.InvalidRequest,
    "content type of text": errors.InvalidRequest,
    "unknown path": errors.NotSupported,
    "wrong method": errors.NotSupported,
    "no key": errors.AuthenticationFailed,
    "wrong key": errors.AuthenticationFailed,
    "no key in a stream": errors.AuthenticationFailed,
    "models without a key": errors.AuthenticationFailed,
    "queue full": errors.ServerOverloaded,
    "queue full in a stream": errors.ServerOverloaded,
    "chat while draining": errors.ServerFailed,
    "stream while draining": errors.ServerFailed,
    "chat, engine killed": errors.EngineDead,
    "embeddings of a text model": errors.NotSupported,
    "score of a text model": errors.NotSupported,
    "rerank of a text model": errors.NotSupported,
    "chat with a pooling model": errors.NotSupported,
    "completion with a pooling model": errors.NotSupported,
}
"""Name of an exchange -> class of the error; a release that answers it with 200 is passed over."""
CASES = [
    pytest.param(exchange, EXPECTED[name], id=f"{release}, {name}")
    for release, exchanges in RECORDINGS.items()
    for name, exchange in exchanges.items()
    if name in EXPECTED and exchange["status"] not in (0, 200)
]
STREAMS = [
    pytest.param(exchange["body"], id=f"{release}, {name}")
    for release, exchanges in RECORDINGS.items()
    for name, exchange in exchanges.items()
    if name == "stream, engine killed" and '"error"' in exchange["body"]
]


@pytest.mark.parametrize(("exchange", "kind"), CASES)
def test_recorded_answer_becomes_the_right_error(exchange: dict[str, Any], kind: type[errors.VLLMClientError]) -> None:
    error = error_from_answer(exchange["status"], exchange["headers"], exchange["body"].encode(), "http://vllm")
    assert type(error) is kind, str(error)
    assert error.status_code == exchange["status"]
    assert error.retryable == (exchange["status"] >= 500)
    if isinstance(error, errors.TokenLimitExceeded):
        assert error.max_model_len == 512, str(error)
        assert error.prompt_tokens or error.requested_tokens, str(error)


@pytest.mark.parametrize("body", STREAMS)
def test_killed_engine_is_named_within_the_stream(body: str) -> None:
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    [found] = [event for event in events if "error" in event or event.get("object") == "error"]
    assert type(error_from_event(found, "http://vllm")) is errors.EngineDead


def test_recordings_of_several_releases_exist() -> None:
    assert "0.32.0" in RECORDINGS
