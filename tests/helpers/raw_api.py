"""The API server without a client library between: for tests that make thousands of calls side by side."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import yaml

from vllm_operator.kube.codec import to_json

AGENT = "vllm-operator-tests"
JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Reply:
    """An answer of the API server."""

    status: int
    body: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.status < 400

    @property
    def message(self) -> str:
        """The API server's words when it refused."""
        return str(self.body.get("message", self.body))


class RawApi:
    """Calls to the API server of a kubeconfig with client certificates; at most `limit` in flight."""

    def __init__(self, kubeconfig: Path, limit: int = 32) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = cluster["server"]
        self._limit = limit
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._context.load_cert_chain(user["client-certificate"], user["client-key"])

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=self._limit)
        self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": AGENT})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, content_type: str = JSON) -> Reply:
        """One call; a refusal is an answer like any other."""
        data = body if isinstance(body, bytes) or body is None else to_json(body)
        headers = {"Content-Type": content_type} if data is not None else None
        async with self._session.request(method, self._server + path, data=data, headers=headers) as response:
            raw = await response.read()
            return Reply(response.status, _decoded(raw))

    async def get(self, path: str) -> dict[str, Any] | None:
        """An object or a list; None when there is none."""
        reply = await self.call("GET", path)
        assert reply.ok or reply.status == 404, f"GET {path}: {reply.status} {reply.message}"
        return reply.body if reply.ok else None

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object in the collection at `path`."""
        reply = await self.call("POST", path, body)
        assert reply.ok, f"POST {path}: {reply.status} {reply.message}"
        return reply.body


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {"message": raw.decode(errors="replace")}
    return answer
