"""The same faults under the OpenAI SDK with our transport: its own errors, the right answers, nothing left."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.client.faults import of_answers, of_connections, of_streams, of_time
from tests.client.faults.fault import MARGIN_SECONDS, ONCE, Fault
from tests.client.faults.server import FaultServer, eventually, fault_server
from vllm_operator.client import ClientConfig
from vllm_operator.client.openai_sdk import async_openai_client, openai_client

MESSAGES: Any = [{"role": "user", "content": "hi"}]
OF_STREAMS = (
    *("end without finish reason and [DONE]", "end with finish reason, without [DONE]", "end within an event"),
    *("no event", "error event first", "error event amid the stream", "CRLF", "events in one segment", "no usage"),
)
"""Faults that the SDK itself must notice, or that are right. What else is wrong with an event, the SDK judges."""
FAULTS: dict[str, Fault] = {
    **of_connections.FAULTS,
    **of_time.FAULTS,
    **{name: fault for name, fault in of_answers.FAULTS.items() if name[0] in "45"},
    **{name: of_streams.FAULTS[name] for name in OF_STREAMS},
}
CASES = [
    pytest.param(fault, is_async, streamed, id=f"{name}, {'async' if is_async else 'sync'}, {kind}")
    for name, fault in FAULTS.items()
    for is_async in (True, False)
    for streamed, kind in ((False, "plain"), (True, "stream"))
    if (fault.stream if streamed else fault.plain) is not None
]


def sync_call(config: ClientConfig, streamed: bool) -> str:
    with openai_client(config) as sdk:
        if not streamed:
            return sdk.chat.completions.create(model="tiny", messages=MESSAGES).choices[0].message.content or ""
        chunks = sdk.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def async_call(config: ClientConfig, streamed: bool) -> str:
    async with async_openai_client(config) as sdk:
        if not streamed:
            answer = await sdk.chat.completions.create(model="tiny", messages=MESSAGES)
            return answer.choices[0].message.content or ""
        chunks = await sdk.chat.completions.create(model="tiny", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def outcome(server: FaultServer, fault: Fault, is_async: bool, streamed: bool) -> str | Exception:
    config = ClientConfig(base_url=server.url, retries=ONCE, timeouts=fault.timeouts, limits=fault.limits)

    async def bounded() -> str:
        async with asyncio.timeout((fault.timeouts.whole or 0) + MARGIN_SECONDS):
            return await async_call(config, streamed)

    try:
        return asyncio.run(bounded()) if is_async else sync_call(config, streamed)
    except Exception as error:
        return error


@pytest.mark.parametrize(("fault", "is_async", "streamed"), CASES)
def test_sdk_raises_its_own_error_and_leaves_nothing(fault: Fault, is_async: bool, streamed: bool) -> None:
    expected = fault.stream if streamed else fault.plain
    with fault_server(fault.behaviour) as server:
        found = outcome(server, fault, is_async, streamed)
        assert eventually(lambda: server.client_sockets() == 0), "the closed client holds a connection"
    if isinstance(expected, str):
        assert found == expected
    else:
        assert isinstance(found, (openai.OpenAIError, ValueError)), repr(found)
