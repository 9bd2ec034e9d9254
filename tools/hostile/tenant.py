"""A tenant on the API server: its namespace, servers and pods, whose status it writes, and what it does in loops."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import orjson

from tools.bench.loop import FastClient
from tools.bench.pacing import each, until
from tools.hostile.kinds import LABELLED_SERVICES, Kind, Object, labelled_service, pod_status, server
from tools.hostile.process import ReplicaProcess
from vllm_operator.api.names import LABEL_INSTANCE

SERVERS = "/apis/vllm-operator.dev/v1alpha1/namespaces/{}/vllmservers"
LOOK_SECONDS = 5.0
"""Between two looks for pods that have no status yet."""
PODS_SECONDS = 180.0
REFUSED = (RuntimeError, FileNotFoundError, aiohttp.ClientError, TimeoutError)
"""Errors that a call of a tenant may end with."""
GOOD_SERVERS, GOOD_REPLICAS = 5, 2


def timestamp() -> str:
    """Return the time as RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def addresses(network: int) -> Iterator[str]:
    """Yield the loopback addresses 127.N.0.1, 127.N.0.2, ..."""
    return (f"127.{network}.{third}.{last}" for third in range(256) for last in range(1, 251))


def good_kind() -> Kind:
    """Return the kind of the servers of the well-behaved tenant."""
    return Kind("good", "serves", GOOD_REPLICAS, "serving", "well")


class Tenant:
    """One namespace with the servers of these kinds.

    Attributes:
        pods: server -> addresses of its pods, in the order in which they got one.
        done: kind -> number of writes that the API server took, and `refused`.
    """

    def __init__(self, client: FastClient, replicas: ReplicaProcess, namespace: str, network: int) -> None:
        self.namespace = namespace
        self.pods: dict[str, list[str]] = {}
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._client, self._replicas = client, replicas
        self._addresses = addresses(network)
        self._kinds: dict[str, Kind] = {}
        self._statuses: dict[str, tuple[Kind, str]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def set_up(self, kinds: Sequence[tuple[str, Kind]]) -> None:
        """Create servers of these names and kinds, and wait until each has the pods that it asks for.

        Raises:
            TimeoutError: the controllers did not create them.
        """
        await self._client.namespace(self.namespace)
        self._kinds = dict(kinds)
        for name, kind in kinds:
            await self._write(kind.name, self._create(server(self.namespace, name, kind.replicas, kind.spec)))
            for body in kind.manifests(self.namespace) if kind.manifests else ():
                await self._write(kind.name, self._create(body))
        writing = asyncio.create_task(self._write_statuses())
        self._tasks.append(writing)
        wanted = sum(kind.replicas for kind in self._kinds.values() if kind.pods in ("serving", "crashed"))

        async def all_have_status() -> bool:
            if writing.done():
                writing.result()
            return len(self._statuses) >= wanted

        await until(all_have_status, PODS_SECONDS)

    def act(self) -> None:
        """Begin all that the kinds do in loops."""
        for kind in self._kinds.values():
            for work in self._loops(kind):
                self._tasks.append(asyncio.create_task(self._repeat(kind, work)))

    async def stop(self) -> None:
        """End the loops; the objects stay."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def path(self, name: str = "", suffix: str = "") -> str:
        """Return the URL path of a VLLMServer."""
        return "/".join(part for part in (SERVERS.format(self.namespace), name, suffix) if part)

    def _pod_path(self, name: str, suffix: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}/{suffix}"

    async def _create(self, body: Object) -> None:
        kind = "services" if body["kind"] == "Service" else ""
        await self._client.post(f"/api/v1/namespaces/{self.namespace}/{kind}" if kind else self.path(), body)

    async def _write(self, kind: str, call: Awaitable[Any]) -> None:
        """Await a write; a refusal is counted."""
        try:
            await call
            self.done[kind] += 1
        except REFUSED:
            self.refused[kind] += 1

    async def _write_statuses(self) -> None:
        """Do the work of a kubelet for pods that come into being."""
        while True:
            with suppress(*REFUSED):
                found = await self._client.get(f"/api/v1/namespaces/{self.namespace}/pods", metadata_only=True)
                new = [
                    item["metadata"] for item in found["items"] or () if item["metadata"]["name"] not in self._statuses
                ]
                await each(new, self._start_pod, limit=8)
            await asyncio.sleep(LOOK_SECONDS if len(self._statuses) else 0.5)

    async def _start_pod(self, metadata: Object) -> None:
        name, owner = metadata["name"], metadata["labels"].get(LABEL_INSTANCE, "")
        kind = self._kinds.get(owner)
        if kind is None or kind.pods not in ("serving", "crashed"):
            return
        address = next(self._addresses)
        if kind.answers:
            await self._replicas.order(listen={address: kind.answers})
        if kind.node:
            target = {"apiVersion": "v1", "kind": "Node", "name": kind.node}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self._client.post(self._pod_path(name, "binding"), body)
        self._statuses[name] = (kind, address)
        self.pods.setdefault(owner, []).append(address)
        await self._write(kind.name, self._status(name, 1))

    async def _status(self, pod: str, number: int) -> None:
        kind, address = self._statuses[pod]
        message = kind.message(number) if kind.message else ""
        status = pod_status(kind.pods, address, message, number, timestamp())
        await self._client.merge(self._pod_path(pod, "status"), orjson.dumps({"status": status}))

    def _loops(self, kind: Kind) -> list[Callable[[int], Awaitable[None]]]:
        acts = {"relabel": self._relabel, "forge": self._forge, "churn": self._churn}
        loops: list[Callable[[int], Awaitable[None]]] = [acts[kind.act]] if kind.act else []
        if kind.pods == "crashed":
            loops.append(lambda turn: self._crash(kind, turn))
        if change := kind.change:
            loops.append(lambda turn: self._merge(kind.server, change(turn)))
        return loops

    async def _repeat(self, kind: Kind, work: Callable[[int], Awaitable[None]]) -> None:
        for turn in itertools.count(2):
            await self._write(kind.name, work(turn))
            await asyncio.sleep(kind.seconds)

    async def _merge(self, name: str, patch: Object, suffix: str = "") -> None:
        await self._client.merge(self.path(name, suffix), orjson.dumps(patch))

    async def _crash(self, kind: Kind, turn: int) -> None:
        """Let all pods of a kind crash once more, each with another message."""
        pods = [name for name, (owner, _) in self._statuses.items() if owner is kind]
        for index, pod in enumerate(pods):
            await self._status(pod, turn * len(pods) + index)

    async def _relabel(self, turn: int) -> None:
        number = turn % LABELLED_SERVICES
        body = labelled_service(self.namespace, number, turn)
        path = f"/api/v1/namespaces/{self.namespace}/services/{body['metadata']['name']}"
        await self._client.merge(path, orjson.dumps({"metadata": body["metadata"]}))

    async def _forge(self, turn: int) -> None:
        entry = {"phase": "Stalled", "reason": "EngineStalled", "message": f"{turn} " + "x" * 1000}
        entries = [{"pod": f"none-{number}", **entry} for number in range(100)]
        status = {"phase": "Degraded", "message": "y" * 1000, "replicaStatuses": entries}
        await self._merge("h-forged", {"status": status}, "status")

    async def _churn(self, turn: int) -> None:
        await self._create(server(self.namespace, f"h-churn-{turn}", 1))
        if turn > 10:
            await self._client.delete(self.path(f"h-churn-{turn - 10}"))
