"""Requests to a gateway."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.gateway.gateway_process import GatewayProcess

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


def chat(content: str = "hi", model: str = "tiny", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}], **fields}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def post(
    session: aiohttp.ClientSession,
    gateway: GatewayProcess,
    body: Any = None,
    path: str = CHAT,
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Answer:
    """Send JSON, or bytes as they are."""
    content = (
        {"data": body} if isinstance(body, bytes | aiohttp.FormData) else {"json": body if body is not None else chat()}
    )
    async with session.post(gateway.url + path, headers=headers, ssl=False, **content, **options) as response:
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, await response.text(), lower)


async def get(
    session: aiohttp.ClientSession, gateway: GatewayProcess, path: str, headers: dict[str, str] | None = None
) -> Answer:
    async with session.get(gateway.url + path, headers=headers, ssl=False) as response:
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, await response.text(), lower)


async def raw(gateway: GatewayProcess, text: bytes, seconds: float = 5.0) -> bytes:
    """Send bytes on a new connection; return the bytes that come until it ends, or the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.layout.port)
    writer.write(text)
    received = b""
    try:
        async with asyncio.timeout(seconds):
            while part := await reader.read(65536):
                received += part
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return received
