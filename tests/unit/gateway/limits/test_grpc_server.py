"""Connections that are no HTTP/2 of Envoy. `tests/gateway` shows the server with the real Envoy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from vllm_operator.gateway.limits.grpc_server import MAX_MESSAGE_BYTES, PREFACE, UnaryServer


@pytest.fixture(params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Both loops: the agent runs on uvloop, whose transports are other classes."""
    return uvloop.EventLoopPolicy() if request.param == "uvloop" else asyncio.DefaultEventLoopPolicy()


async def talk(path: Path, raw: bytes) -> bytes:
    server = UnaryServer(path, lambda message: message[::-1])
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(raw)
    received = b""
    try:
        async with asyncio.timeout(0.3):
            while part := await reader.read(4096):
                received += part
    except (TimeoutError, ConnectionError):
        received += b"(open)"
    writer.close()
    await server.stop()
    return received


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def call(message: bytes, stream: int = 1) -> bytes:
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return frame(1, 4, stream, b"\x83\x86") + frame(0, 1, stream, body)


async def test_a_call_is_answered(tmp_path: Path) -> None:
    answer = await talk(tmp_path / "s", PREFACE + frame(4, 0, 0, b"") + call(b"abc") + frame(6, 0, 0, b"12345678"))
    assert b"\x00\x00\x00\x00\x03cba" in answer
    assert b"grpc-status" in answer
    assert frame(4, 1, 0, b"") in answer
    assert frame(6, 1, 0, b"12345678") in answer


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        PREFACE + (1 << 20).to_bytes(3, "big") + b"\x00" * 6,
        PREFACE + frame(1, 5, 1, b""),
        PREFACE + frame(1, 4, 1, b"") + frame(0, 0, 1, b"x" * 16_000) * (MAX_MESSAGE_BYTES // 16_000 + 1),
        PREFACE + frame(8, 0, 0, b"1"),
    ],
)
async def test_what_is_no_call_ends_the_connection(tmp_path: Path, raw: bytes) -> None:
    assert not (await talk(tmp_path / "s", raw)).endswith(b"(open)")


async def test_a_reset_call_is_forgotten(tmp_path: Path) -> None:
    raw = PREFACE + frame(1, 4, 1, b"") + frame(3, 0, 1, b"\x00\x00\x00\x08") + frame(0, 1, 1, b"\x00\x00\x00\x00\x01a")
    assert b"grpc-status" not in await talk(tmp_path / "s", raw)
