from __future__ import annotations

import httpx2
import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer
from vllm_operator.client import (
    AsyncVLLMClient,
    CircuitOpen,
    ConnectionRefused,
    InvalidResponse,
    RequestTimeout,
    StreamInterrupted,
    VLLMClientError,
)
from vllm_operator.client.httpx_transport import AsyncVLLMTransport, httpx_error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestTimeout("x", phase="connect"), httpx2.ConnectTimeout),
        (RequestTimeout("x", phase="first_token"), httpx2.ReadTimeout),
        (StreamInterrupted("x"), httpx2.RemoteProtocolError),
        (InvalidResponse("x"), httpx2.RemoteProtocolError),
        (ConnectionRefused("x"), httpx2.ConnectError),
        (CircuitOpen("x"), httpx2.ConnectError),
        (VLLMClientError("x"), httpx2.NetworkError),
    ],
)
def test_errors_become_those_of_httpx(error: VLLMClientError, kind: type[httpx2.TransportError]) -> None:
    assert type(httpx_error(error, httpx2.Request("GET", "http://a"))) is kind


async def test_any_httpx_client_can_use_the_transport(server: FakeVLLMServer) -> None:
    transport = AsyncVLLMTransport(AsyncVLLMClient(server.url + "/v1"))
    async with httpx2.AsyncClient(transport=transport, base_url=server.url) as client:
        answer = await client.get("/version", params={"a": "b c"})

    assert answer.json() == {"version": "0.32.0"}
