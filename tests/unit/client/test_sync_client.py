from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer, status
from vllm_operator.client import (
    ClientClosed,
    ClientConfig,
    RetryPolicy,
    StreamInterrupted,
    TokenLimitExceeded,
    VLLMClient,
)
from vllm_operator.client.loop_thread import LoopThread

CHAT = "/v1/chat/completions"


@pytest.fixture
def running() -> Iterator[FakeVLLMServer]:
    """A server with its own event loop, since the client under test blocks its caller."""
    thread, server = LoopThread(), FakeVLLMServer()
    thread.run(server.__aenter__())
    yield server
    thread.run(server.__aexit__())
    thread.stop()


def test_every_operation_returns_typed_values(running: FakeVLLMServer) -> None:
    with VLLMClient(running.url) as client:
        assert client.chat("Hi", temperature=0.0).content == "Hello world"
        assert client.completions("Hi", max_tokens=5).content == "Hello world"
        assert client.embeddings(["a"]).vectors == [(0.0, 0.5)]
        assert client.rerank("q", ["a", "b"]).results[0].index == 1
        assert client.score("a", "b").scores == (0.25,)
        assert client.tokenize("Hi").count == 2
        assert client.detokenize([1]) == "Hello"
        assert client.models()[0].id == "tiny"
        assert client.version() == "0.32.0"
        assert client.health()[0].healthy
        assert client.wait_until_ready().id == "tiny"
    assert running.bodies()[0]["temperature"] == 0.0


def test_streams_are_iterators(running: FakeVLLMServer) -> None:
    with VLLMClient(running.url) as client:
        with client.stream_chat("Hi") as stream:
            pieces = [delta.content for delta in stream]
        assert "".join(pieces) == "Hello world" == stream.content == stream.response.content
        assert client.stream_completions("Hi").collect().content == "Hello world"


def test_leaving_a_stream_early_ends_the_request(running: FakeVLLMServer) -> None:
    running.words, running.word_seconds = ("a",) * 1000, 0.02
    with VLLMClient(running.url) as client:
        with client.stream_chat("Hi") as stream:
            next(stream)
        with pytest.raises(StreamInterrupted):
            stream.response  # noqa: B018
        for _ in client.stream_chat("Hi"):
            break
        for _ in range(500):
            if running.closed_early == 2:
                break
            threading.Event().wait(0.01)

    assert running.closed_early == 2


def test_threads_share_one_client(running: FakeVLLMServer) -> None:
    with VLLMClient(running.url) as client, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda i: client.chat(f"{i}").content, range(64)))

    assert answers == ["Hello world"] * 64
    assert len(running.bodies("/v1/models")) <= 16


def test_errors_are_those_of_the_asynchronous_client(running: FakeVLLMServer) -> None:
    running.answers[CHAT] = status(400, "max_tokens=4096 cannot be greater than max_model_len=1024.")
    with VLLMClient(running.url) as client, pytest.raises(TokenLimitExceeded) as caught:
        client.chat("Hi", max_tokens=4096)

    assert caught.value.max_model_len == 1024


def test_closed_client_says_so(running: FakeVLLMServer) -> None:
    client = VLLMClient(ClientConfig(base_url=running.url, retries=RetryPolicy(max_attempts=1)))
    client.close()
    client.close()

    with pytest.raises(ClientClosed):
        client.chat("Hi")


async def test_it_works_within_a_running_event_loop(server: FakeVLLMServer) -> None:
    """As in a notebook: the caller's loop is blocked, so the server runs in another one."""
    with VLLMClient(server.url) as client:
        answer = await asyncio.to_thread(client.chat, "Hi")

    assert answer.content == "Hello world"


def test_forked_process_gets_its_own_connections(running: FakeVLLMServer) -> None:
    with VLLMClient(running.url) as client:
        client.chat("Hi")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, client.chat("Hi").content.encode())
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        client.chat("Hi")

    assert answer == b"Hello world"


def test_client_that_is_dropped_closes_its_connections(running: FakeVLLMServer) -> None:
    client = VLLMClient(running.url)
    client.chat("Hi")
    thread = client._thread
    assert thread is not None
    del client
    gc.collect()

    assert thread.loop.is_closed()


def test_program_that_ends_without_closing_prints_nothing(running: FakeVLLMServer) -> None:
    code = f"from vllm_operator.client import VLLMClient; c = VLLMClient({running.url!r}); print(c.chat('Hi').content)"

    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.stdout, done.stderr) == ("Hello world\n", "")


def test_streams_of_a_closed_client_say_so(running: FakeVLLMServer) -> None:
    client = VLLMClient(running.url)
    unsent = client.stream_chat("Hi")
    client.close()
    with pytest.raises(ClientClosed):
        next(unsent)
    unsent.close()


def test_stream_keeps_its_client(running: FakeVLLMServer) -> None:
    stream = VLLMClient(running.url).stream_chat("Hi")
    gc.collect()

    assert stream.collect().content == "Hello world"
