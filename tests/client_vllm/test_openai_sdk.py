"""Existing code of the OpenAI SDK and of LangChain, unchanged, against a real vLLM, with our transport and without."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI

from tests.helpers.paths import DATA
from tests.stalled_engine.engine import RealEngine
from vllm_operator.client import AsyncVLLMClient, ClientConfig, VLLMClient
from vllm_operator.client.openai_sdk import async_openai_client, openai_client

ALIASES = ("tiny", "gpt-5.5", "gpt-3.5-turbo-instruct")
"""The models that the SDK's examples name."""
LONG = 1900
"""Tokens of a request that takes the CPU 15 s and more."""
EXAMPLES = sorted((DATA / "openai_examples").glob("*.py.txt"))


@pytest.fixture(scope="module")
def aliased(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """A vLLM that serves its model under the names of the examples."""
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with RealEngine(log, "--max-model-len", "2048", "--served-model-name", *ALIASES) as engine:
        yield engine


def run_unchanged(text: str) -> str:
    """Run the source of an example, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "example", "exec"), {"__name__": "__main__"})
    return printed.getvalue()


@pytest.mark.parametrize("ours", [False, True], ids=["SDK alone", "our transport"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_of_the_sdk_run_unchanged(
    aliased: RealEngine, example: Any, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{aliased.url}/v1")
    if ours:
        config = ClientConfig(base_url=aliased.url)
        monkeypatch.setattr(openai, "OpenAI", functools.partial(openai_client, config))
        monkeypatch.setattr(openai, "AsyncOpenAI", functools.partial(async_openai_client, config))
    printed = run_unchanged(example.read_text())
    assert len(printed) > 20
    if example.name == "streaming.py.txt":
        assert printed.count("got response data") == 2
        assert printed.count('"finish_reason": "length"') == 2


def test_errors_of_the_sdk_are_its_own(aliased: RealEngine) -> None:
    with openai_client(ClientConfig(base_url=aliased.url)) as client, pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nothing", messages=[{"role": "user", "content": "hi"}])
    assert unknown.value.param == "model"


@pytest.mark.parametrize("ours", [False, True], ids=["SDK alone", "our transport"])
def test_langchain_runs_unchanged(aliased: RealEngine, ours: bool) -> None:
    more: dict[str, Any] = {}
    if ours:
        sdk, async_sdk = openai_client(aliased.url), async_openai_client(aliased.url)
        more = {"client": sdk.chat.completions, "async_client": async_sdk.chat.completions}
    model = ChatOpenAI(model="tiny", base_url=f"{aliased.url}/v1", api_key="unused", max_completion_tokens=8, **more)  # type: ignore[arg-type]
    answer = model.invoke("Say hello")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    assert len([*model.stream("Say hello")]) > 1
    assert len(model.batch(["one", "two", "three"])) == 3
    assert asyncio.run(model.ainvoke("Say hello")).content is not None


def metric(engine: RealEngine, labels: str) -> float:
    lines = [line for line in engine.get("/metrics").splitlines() if labels in line and not line.startswith("#")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def generated(engine: RealEngine) -> float:
    return metric(engine, "vllm:generation_tokens_total{")


def wait_for_end(engine: RealEngine, before: float) -> None:
    """Wait until nothing runs, long before the request is complete. vLLM 0.32 counts no aborted request as ended."""
    deadline = time.monotonic() + 10
    while metric(engine, "vllm:num_requests_running{") != 0:
        assert time.monotonic() < deadline, "the engine goes on with the request"
        time.sleep(0.1)
    assert generated(engine) - before < 0.9 * LONG


def wait_for_running(engine: RealEngine) -> None:
    deadline = time.monotonic() + 10
    while metric(engine, "vllm:num_requests_running{") == 0:
        assert time.monotonic() < deadline, "the engine has no request"
        time.sleep(0.02)


def test_leaving_a_stream_ends_the_request_in_the_engine(aliased: RealEngine) -> None:
    before = generated(aliased)
    with VLLMClient(aliased.url, model="tiny") as client:
        with client.stream_chat("hi", max_tokens=LONG, ignore_eos=True) as stream:
            next(iter(stream))
        wait_for_end(aliased, before)


async def test_cancelling_a_task_ends_the_request_in_the_engine(aliased: RealEngine) -> None:
    before = generated(aliased)
    async with AsyncVLLMClient(aliased.url, model="tiny") as client:
        task = asyncio.create_task(client.chat("hi", max_tokens=LONG, ignore_eos=True))
        await asyncio.to_thread(wait_for_running, aliased)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_for_end, aliased, before)


def test_closing_the_stream_of_the_sdk_ends_the_request_in_the_engine(aliased: RealEngine) -> None:
    before = generated(aliased)
    with openai_client(aliased.url) as client:
        stream = client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "hi"}], max_tokens=LONG, stream=True,
            extra_body={"ignore_eos": True},
        )  # fmt: skip
        next(iter(stream))
        stream.close()
        wait_for_end(aliased, before)
