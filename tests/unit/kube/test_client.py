"""Test the leadership check before every write, at the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kube.connection.test_credentials import config
from vllm_operator.errors import ApiError, NoAnswerError, NotLeaderError
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.kinds import SERVER

BODY = {"metadata": {"namespace": "llm", "name": "mistral"}}


class FakeSocket:
    """Send the same response to every request, by default an empty object, and keep the received bytes."""

    def __init__(self) -> None:
        self.received = b""
        self.connections = 0
        self.url = ""
        self.response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while chunk := await reader.read(65536):
            self.received += chunk
            writer.write(self.response)
        writer.close()


@pytest.fixture
async def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSocket]:
    fake = FakeSocket()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    path = tmp_path / "kubeconfig"
    path.write_text(config(fake.url, "token"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield fake
    server.close()


async def test_write_of_the_leader_is_sent(socket: FakeSocket) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    await ApiClient(connection).apply(SERVER, BODY)
    await connection.close()

    assert json.loads(socket.received.rpartition(b"\r\n\r\n")[2]) == BODY


async def test_process_without_the_lease_opens_no_connection(socket: FakeSocket) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    with pytest.raises(NotLeaderError):
        await ApiClient(connection, lambda: False).apply(SERVER, BODY)
    await connection.close()

    assert socket.connections == 0


async def test_leader_that_lost_its_lease_while_it_connected_sends_no_byte(socket: FakeSocket) -> None:
    answers = iter([True, False])
    connection = Connection(lambda *_: None, ApiServerAvailability())
    with pytest.raises(ApiError):
        await ApiClient(connection, lambda: next(answers)).apply(SERVER, BODY)
    await connection.close()

    assert socket.connections == 1
    assert socket.received == b""


@pytest.mark.parametrize(
    ("details", "ends"),
    [
        ({"causes": [{"reason": "NamespaceTerminating", "message": "namespace llm is being terminated"}]}, True),
        ({"causes": [{"reason": "FieldValueInvalid"}]}, False),
        ({"causes": None}, False),
        ({"causes": ["NamespaceTerminating"]}, False),
        (None, False),
    ],
)
async def test_terminating_namespace_is_recognized_by_the_cause(
    socket: FakeSocket, details: dict[str, Any] | None, ends: bool
) -> None:
    status = json.dumps({"kind": "Status", "reason": "Forbidden", "message": "no", "details": details}).encode()
    socket.response = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(status), status)
    connection = Connection(lambda *_: None, ApiServerAvailability())
    with pytest.raises(ApiError, match="403 Forbidden: no") as caught:
        await ApiClient(connection).apply(SERVER, BODY)
    await connection.close()

    assert caught.value.is_namespace_terminating is ends


async def test_stream_ends_with_an_error_when_the_credentials_are_replaced(socket: FakeSocket, tmp_path: Path) -> None:
    """aiohttp lets the reader of a closed session wait without end."""
    socket.response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
    connection = Connection(lambda *_: None, ApiServerAvailability())
    pieces = ApiClient(connection).stream("/watched", {}, 60.0)
    assert await anext(pieces) == b"{}"

    (tmp_path / "kubeconfig").write_text(config(socket.url, "another"))
    waiting = asyncio.create_task(anext(pieces))
    await asyncio.sleep(0)
    await connection.renew()
    with pytest.raises(NoAnswerError, match="the credentials were replaced"):
        await asyncio.wait_for(waiting, 10)
    assert not connection._streams
    await connection.close()
