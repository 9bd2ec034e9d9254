"""langchain-openai, unchanged: straight to a server, and through the SDK with our transport."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.unit.client.batch.fake_engine import FakeEngineServer
from tests.unit.client.batch.in_thread import serving
from vllm_operator.client import ClientConfig, Observer, RequestInfo, RequestOutcome, async_openai_client, openai_client

WAYS = ("straight", "our transport")


class Answered(Observer):
    """Counts what went through our client."""

    def __init__(self) -> None:
        self.count = 0

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        self.count += outcome.status == "ok"


class City(BaseModel):
    """A city."""

    name: str


@pytest.fixture
async def way(request: pytest.FixtureRequest) -> AsyncIterator[tuple[FakeEngineServer, dict[str, Any], Answered]]:
    """A server, the arguments of LangChain's classes, and what our client answered."""
    seen = Answered()
    with serving() as server:
        if request.param == "straight":
            yield server, {"base_url": f"{server.url}/v1", "api_key": "none"}, seen
            return
        config = ClientConfig(base_url=server.url)
        with openai_client(config, observers=[seen]) as sync:
            async with async_openai_client(config, observers=[seen]) as asynchronous:
                arguments = {
                    "client": sync.chat.completions,
                    "root_client": sync,
                    "async_client": asynchronous.chat.completions,
                    "root_async_client": asynchronous,
                }
                yield server, arguments, seen


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_chat_stream_and_batch(way: tuple[FakeEngineServer, dict[str, Any], Answered]) -> None:
    server, arguments, seen = way
    chat = ChatOpenAI(model="tiny", temperature=0.0, **arguments)

    assert chat.invoke("Hi").content == "Hello world"
    assert "".join(str(piece.content) for piece in chat.stream("Hi")) == "Hello world"
    assert [answer.content for answer in chat.batch(["a", "b", "c"])] == ["Hello world"] * 3
    answer = await chat.ainvoke([("system", "Be brief."), ("human", "Hi")])
    assert (answer.content, answer.usage_metadata["output_tokens"]) == ("Hello world", 2)  # type: ignore[index]
    assert "".join([str(piece.content) async for piece in chat.astream("Hi")]) == "Hello world"
    assert len(await chat.abatch(["a", "b"])) == 2

    assert server.bodies()[0]["temperature"] == 0.0
    assert server.bodies()[-3]["stream"] is True
    assert seen.count in (0, len(server.bodies()))


@pytest.mark.parametrize("way", WAYS, indirect=True)
async def test_tools_and_structured_output(way: tuple[FakeEngineServer, dict[str, Any], Answered]) -> None:
    server, arguments, _ = way
    chat = ChatOpenAI(model="tiny", **arguments)
    assert chat.bind_tools([City]).invoke("Where?").content == "Hello world"
    server.words = ('{"name": ', '"Paris"}')

    assert chat.with_structured_output(City).invoke("Where?") == City(name="Paris")
    assert await chat.with_structured_output(City).ainvoke("Where?") == City(name="Paris")
    assert server.bodies()[0]["tools"][0]["function"]["name"] == "City"
    assert server.bodies()[1]["response_format"]["type"] == "json_schema"


async def test_embeddings() -> None:
    with serving() as server, openai_client(server.url) as sync:
        straight = OpenAIEmbeddings(
            model="tiny",
            base_url=f"{server.url}/v1",
            api_key="none",  # type: ignore[arg-type]
            check_embedding_ctx_length=False,
        )
        ours = OpenAIEmbeddings(
            model="tiny", client=sync.embeddings, async_client=object(), check_embedding_ctx_length=False
        )

        assert straight.embed_documents(["a", "b"]) == ours.embed_documents(["a", "b"]) == [[1.0, 0.5], [0.0, 0.5]]
