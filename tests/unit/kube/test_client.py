"""The fence before every write, seen from the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kube.connection.test_credentials import config
from vllm_operator.errors import ApiError, NotLeaderError
from vllm_operator.kube.availability import ApiServerAvailability
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.kinds import SERVER

BODY = {"metadata": {"namespace": "llm", "name": "mistral"}}


class FakeSocket:
    """Answers every request alike, with an empty object unless told, and keeps the bytes that came."""

    def __init__(self) -> None:
        self.received = b""
        self.connections = 0
        self.url = ""
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while chunk := await reader.read(65536):
            self.received += chunk
            writer.write(self.answer)
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


async def test_write_that_is_allowed_is_sent(socket: FakeSocket) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    await ApiClient(connection).apply(SERVER, BODY)
    await connection.close()

    assert json.loads(socket.received.rpartition(b"\r\n\r\n")[2]) == BODY


async def test_leader_that_lost_its_lease_asks_nobody(socket: FakeSocket) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    with pytest.raises(NotLeaderError):
        await ApiClient(connection, lambda: False).apply(SERVER, BODY)
    await connection.close()

    assert socket.connections == 0


async def test_leader_that_froze_while_it_connected_sends_not_a_byte(socket: FakeSocket) -> None:
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
async def test_namespace_that_ends_is_known_by_the_cause(
    socket: FakeSocket, details: dict[str, Any] | None, ends: bool
) -> None:
    status = json.dumps({"kind": "Status", "reason": "Forbidden", "message": "no", "details": details}).encode()
    socket.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(status), status)
    connection = Connection(lambda *_: None, ApiServerAvailability())
    with pytest.raises(ApiError, match="403 Forbidden: no") as caught:
        await ApiClient(connection).apply(SERVER, BODY)
    await connection.close()

    assert caught.value.is_namespace_terminating is ends
