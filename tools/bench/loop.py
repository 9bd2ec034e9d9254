"""The fastest client for the bare write loop and the minimal repair loop: aiohttp and orjson only."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import yaml

AGENT = "vllm-operator-bench"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class FastClient:
    """Raw calls to the API server of a kubeconfig with client certificates."""

    def __init__(self, kubeconfig: Path, agent: str = AGENT) -> None:
        self._agent = agent
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = cluster["server"]
        self._context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers={"User-Agent": self._agent})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def namespace(self, name: str) -> None:
        """Create a namespace, unless an operator's setup did: some watch only one, which has to be there first."""
        if await self.find(f"/api/v1/namespaces/{name}") is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.post("/api/v1/namespaces", body)

    async def get(self, path: str, metadata_only: bool = False) -> dict[str, Any]:
        """Read an object or a list."""
        return await self._call("GET", path, headers={"Accept": METADATA} if metadata_only else None)

    async def find(self, path: str) -> dict[str, Any] | None:
        """Read an object that may be absent."""
        try:
            return await self.get(path)
        except FileNotFoundError:
            return None

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create."""
        return await self._call("POST", path, orjson.dumps(body), {"Content-Type": "application/json"})

    async def apply(self, path: str, body: bytes) -> dict[str, Any]:
        """Server-side apply."""
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return await self._call(
            "PATCH", f"{path}?fieldManager={self._agent}&force=true&fieldValidation=Ignore", body, headers
        )

    async def merge(self, path: str, body: bytes) -> dict[str, Any]:
        """JSON merge patch."""
        return await self._call("PATCH", path, body, {"Content-Type": "application/merge-patch+json"})

    async def delete(self, path: str) -> None:
        """Delete an object, or all of a collection."""
        await self._call("DELETE", path)

    async def watch(self, path: str, version: str) -> AsyncIterator[dict[str, Any]]:
        """Events of a collection since a version, until the API server ends them."""
        assert self._session is not None
        url = f"{self._server}{path}?watch=1&resourceVersion={version}"
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=None), raise_for_status=True) as response:
            async for line in response.content:
                yield orjson.loads(line)

    async def _call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.request(method, self._server + path, data=body, headers=headers) as response:
            raw = await response.read()
            if response.status == 404:
                raise FileNotFoundError(path)
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status} {raw[:500]!r}")
            answer: dict[str, Any] = orjson.loads(raw)
            return answer
