"""The client reads what real releases of vLLM answered (`tests/data/client`), sent again byte by byte over a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.client.faults.server import Behaviour, fault_server
from tests.client.faults.wire import END, STREAM_HEAD, always, pieces, with_length
from tests.helpers.paths import DATA
from vllm_operator.client import (
    ClientConfig,
    EngineDead,
    ModelNotReady,
    RetryPolicy,
    ServerFailed,
    StreamInterrupted,
    VLLMClient,
)

RECORDINGS = {path.stem: json.loads(path.read_text())["exchanges"] for path in sorted((DATA / "client").glob("*.json"))}
RELEASES = pytest.mark.parametrize("release", RECORDINGS)


def replayed(exchange: dict[str, Any]) -> Behaviour:
    """Send a recorded answer for every request."""
    body = exchange["body"].encode()
    if "text/event-stream" in exchange["headers"].get("content-type", ""):
        events = [event + b"\n\n" for event in body.split(b"\n\n") if event]
        return always(STREAM_HEAD, *pieces(*events), END)
    return always(with_length(exchange["status"], body))


def recorded(release: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = RECORDINGS[release].get(name)
    if found is None:
        pytest.skip(f"vLLM {release} has no {name!r}")
    return found


def ask(release: str, name: str, call: Callable[[VLLMClient], Any]) -> Any:
    """Return the result of a call that gets a recorded answer."""
    with fault_server(replayed(recorded(release, name))) as server:
        config = ClientConfig(base_url=server.url, model="tiny", retries=RetryPolicy(max_attempts=1), api_key="")  # type: ignore[arg-type]
        with VLLMClient(config) as client:
            return call(client)


@RELEASES
@pytest.mark.parametrize("name", ["chat", "chat of two choices", "chat with logprobs"])
def test_chat_is_read(release: str, name: str) -> None:
    answer = ask(release, name, lambda client: client.chat("hello"))
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 4 * len(answer.choices)
    assert len(answer.choices) == (2 if "two" in name else 1)


@RELEASES
@pytest.mark.parametrize("name", ["chat stream", "chat stream without usage"])
def test_chat_stream_is_read(release: str, name: str) -> None:
    answer = ask(release, name, lambda client: client.stream_chat("hello").collect())
    assert answer.finish_reason == "length"
    assert (answer.usage is None) == ("without" in name)
    assert answer.content


@RELEASES
def test_completions_are_read(release: str) -> None:
    assert ask(release, "completion", lambda client: client.completions("hello")).usage.completion_tokens == 4
    assert ask(release, "completion stream", lambda client: client.stream_completions("hello").collect()).content


@RELEASES
def test_tokens_models_and_version_are_read(release: str) -> None:
    tokens = ask(release, "tokenize", lambda client: client.tokenize("hello world"))
    assert tokens.count == len(tokens.tokens) > 0
    assert ask(release, "detokenize", lambda client: client.detokenize([40, 41]))
    [model] = ask(release, "models", lambda client: client.models())
    assert (model.id, model.max_model_len) == ("tiny", 512)
    assert ask(release, "version", lambda client: client.version()).startswith(release.partition(".post")[0])


@RELEASES
def test_embeddings_scores_and_ranks_are_read(release: str) -> None:
    vectors = ask(release, "embeddings", lambda client: client.embeddings(["hello", "world"]))
    assert len(vectors.data) == 2
    [encoded] = ask(release, "embeddings in base64", lambda client: client.embeddings("hello")).data
    assert encoded.embedding == pytest.approx(vectors.data[0].embedding, abs=0.01)
    assert len(ask(release, "score", lambda client: client.score("hello", ["world", "moon"])).scores) == 2
    assert len(ask(release, "rerank", lambda client: client.rerank("hello", ["world", "moon"])).results) == 2


@RELEASES
def test_request_that_the_engine_aborted_is_no_answer(release: str) -> None:
    with pytest.raises(ServerFailed, match="before its answer was complete") as plain:
        ask(release, "chat, requests aborted by a pause", lambda client: client.chat("hello"))
    assert plain.value.retryable
    with pytest.raises(StreamInterrupted, match="before its answer was complete"):
        ask(release, "stream, requests aborted by a pause", lambda client: client.stream_chat("hello").collect())


@RELEASES
def test_killed_engine_ends_call_and_stream(release: str) -> None:
    with pytest.raises(EngineDead):
        ask(release, "chat, engine killed", lambda client: client.chat("hello"))
    with pytest.raises((EngineDead, StreamInterrupted)):
        ask(release, "stream, engine killed", lambda client: client.stream_chat("hello").collect())


def test_refused_connection_after_the_engine_died_is_not_ready() -> None:
    for exchanges in RECORDINGS.values():
        assert exchanges["chat after the engine died"]["ended"] in {"refused", "reset", "closed"}
    with fault_server(always(b"")) as server:
        server.stop()
        config = ClientConfig(base_url=server.url, model="tiny", retries=RetryPolicy(max_attempts=1), api_key="")  # type: ignore[arg-type]
        with VLLMClient(config) as client, pytest.raises(ModelNotReady):
            client.chat("hello")
