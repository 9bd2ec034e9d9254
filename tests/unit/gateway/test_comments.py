from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from vllm_operator.gateway.comments import CommentedStreams, _error_of, comment_seconds, error_event


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5), ("0", 1), ("3600", 60), ("soon", 15), ("", 15), ("-1", 15), ("٣", 15), ("9" * 5000, 15)],
)
def test_the_seconds_between_comments_are_bounded(value: str, seconds: int) -> None:
    assert comment_seconds({"x-vllm-gateway-hold": value}) == seconds
    assert comment_seconds({}) == 0


ERROR = {"message": "no\nreplica", "type": "ServiceUnavailableError", "param": None, "code": 503}


def test_an_error_is_an_event_of_the_api_that_the_client_speaks() -> None:
    chat = error_event("/v1/chat/completions", ERROR).decode().split("\n\n")
    assert chat[1] == "data: [DONE]"
    assert json.loads(chat[0].removeprefix("data: ")) == {"error": ERROR}
    name, data = error_event("/v1/messages", ERROR).decode().strip().split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"] == {"type": ERROR["type"], "message": ERROR["message"]}
    name, data = error_event("/v1/responses", ERROR).decode().strip().split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "code": "503",
        "message": ERROR["message"],
        "param": None,
    }


@pytest.mark.parametrize("body", [b"", b"garbage", b"[]", b'{"error": 5}', b'{"error": {"message": 1}}', b"[" * 65536])
def test_answers_without_an_error_of_the_api_name_the_status(body: bytes) -> None:
    assert _error_of(500, body)["message"] == "the replica answered 500, and no stream"


def test_the_error_of_a_replica_is_passed_on() -> None:
    body = json.dumps({"error": {"message": "too long", "type": "BadRequestError", "secret": "x"}}).encode()
    assert _error_of(400, body) == {"message": "too long", "type": "BadRequestError", "param": None, "code": 400}


@pytest.mark.parametrize("host", ["user@chat", "chat:99999", "chat?x="])
async def test_the_host_of_a_client_changes_neither_path_nor_credentials(tmp_path: Path, host: str) -> None:
    received: list[web.BaseRequest] = []

    async def fake_envoy(request: web.BaseRequest) -> web.Response:
        received.append(request)
        return web.Response(text="data: done\n\n", content_type="text/event-stream")

    streams = CommentedStreams(str(tmp_path / "resume.sock"))

    async def agent(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        return await streams.answer(request, 5)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", agent)
    envoy, holder = web.ServerRunner(web.Server(fake_envoy)), web.AppRunner(app)
    await envoy.setup()
    await web.UnixSite(envoy, str(tmp_path / "resume.sock")).start()
    await holder.setup()
    await web.UnixSite(holder, str(tmp_path / "hold.sock")).start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "hold.sock"))
    writer.write(f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    async with asyncio.timeout(5):
        await reader.readuntil(b"data: done")
    writer.close()
    await streams.stop()
    await holder.cleanup()
    await envoy.cleanup()
    assert [(one.rel_url.raw_path_qs, one.headers["Host"]) for one in received] == [("/v1/completions", host)]
    assert "Authorization" not in received[0].headers
