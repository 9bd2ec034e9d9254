"""Test the leadership check before every write, at the socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.kube.connection.test_credentials import config
from vllm_operator.api.names import UNREADABLE
from vllm_operator.errors import ApiError, NoAnswerError, NotLeaderError, NotSentError, ResponseTooLargeError
from vllm_operator.kube import client as module
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


class FakeLists:
    """Serve a list in pages as the API server does, and keep the limits of the requests.

    Attributes:
        items: the objects.
        limits: the `limit` of each request.
    """

    def __init__(self, items: list[bytes]) -> None:
        self.items = items
        self.limits: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            query = parse_qs(urlsplit(head.split()[1].decode()).query)
            limit, start = int(query["limit"][0]), int(query.get("continue", ["0"])[0])
            self.limits.append(limit)
            end = start + limit
            metadata = {"resourceVersion": "9", **({"continue": str(end)} if end < len(self.items) else {})}
            body = b'{"items":[%s],"metadata":%s}' % (b",".join(self.items[start:end]), json.dumps(metadata).encode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ApiClient, FakeLists]]:
    lists = FakeLists([])
    server = await asyncio.start_server(lists.serve, "127.0.0.1", 0)
    path = tmp_path / "kubeconfig"
    path.write_text(config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "token"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    connection = Connection(lambda *_: None, ApiServerAvailability())
    yield ApiClient(connection), lists
    await connection.close()
    server.close()


async def test_page_that_is_too_large_is_requested_in_smaller_ones(
    client: tuple[ApiClient, FakeLists], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, lists = client
    monkeypatch.setattr(module, "LIST_PAGE_SIZE", 64)
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 4000)
    monkeypatch.setattr(ApiClient.list_page, "__defaults__", (4000,))
    lists.items = [b'{"metadata":{"name":"%d"},"x":"%s"}' % (n, b"x" * 900 * (n < 6)) for n in range(80)]

    found = await api.list(SERVER, None, None, bytes)

    assert found is not None
    assert (found.items, found.version) == (lists.items, "9")
    assert lists.limits == [64, 8, 1, 2, 4, 8, 16, 32, 64]


async def test_object_that_is_too_large_alone_fails_the_list(
    client: tuple[ApiClient, FakeLists], monkeypatch: pytest.MonkeyPatch
) -> None:
    api, lists = client
    monkeypatch.setattr(ApiClient.list_page, "__defaults__", (4000,))
    lists.items = [b'{"x":"%s"}' % (b"x" * 5000)]
    with pytest.raises(ResponseTooLargeError):
        await api.list(SERVER, None, None, bytes)


@pytest.mark.parametrize("write", ["apply", "replace", "create"])
async def test_stub_is_never_written_back(socket: FakeSocket, write: str) -> None:
    connection = Connection(lambda *_: None, ApiServerAvailability())
    api, stub = ApiClient(connection), {**BODY, UNREADABLE: "it is too large"}
    with pytest.raises(NotSentError, match="cannot be written back: it is too large"):
        await {
            "apply": lambda: api.apply(SERVER, stub),
            "replace": lambda: api.replace(SERVER, stub),
            "create": lambda: api.create(SERVER, "llm", stub),
        }[write]()
    await connection.close()
    assert socket.connections == 0


async def test_large_object_in_a_response_is_a_stub(socket: FakeSocket) -> None:
    body = json.dumps({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"x": "x" * 300_000}}).encode()
    socket.response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    connection = Connection(lambda *_: None, ApiServerAvailability())
    found = await ApiClient(connection).get(SERVER, "llm", "a")
    await connection.close()
    assert found is not None
    assert found["metadata"] == {"name": "a", "resourceVersion": "7"}
    assert "at most 256 KiB" in found[UNREADABLE]


async def test_text_is_read_up_to_its_limit(socket: FakeSocket) -> None:
    socket.response = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1_000_000
    connection = Connection(lambda *_: None, ApiServerAvailability())
    assert await ApiClient(connection).get_text("/log", {}, 1000) == "x" * 1000


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
