"""Two nodes without machines: the kubelet of one serves logs, that of the other does not answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import orjson

from tools.bench.loop import FastClient
from tools.hostile.process import ReplicaProcess
from tools.hostile.tenant import REFUSED, timestamp
from tools.localcluster.certificates import Authority, Identity

NODES = ("hostile-logs", "hostile-dead")
BEAT_SECONDS = 10.0
KUBELET = Identity("hostile-kubelet", "/O=system:nodes/CN=system:node:hostile-logs", ("IP:127.0.0.1",))


async def create(client: FastClient, replicas: ReplicaProcess, plane: Path) -> asyncio.Task[None]:
    """Create the nodes of the control plane in this folder; return the task that keeps them ready."""
    authority = Authority(plane / "pki")
    await asyncio.to_thread(authority.ensure, [KUBELET])
    files = [str(authority.certificate(KUBELET.name)), str(authority.key(KUBELET.name))]
    ports = (await replicas.order(kubelets=files))["ports"]
    for name in NODES:
        await client.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    known = dict(zip(NODES, ports, strict=True))
    await _beat(client, known)
    return asyncio.create_task(_beats(client, known))


async def _beats(client: FastClient, ports: dict[str, int]) -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        with suppress(*REFUSED):
            await _beat(client, ports)


async def _beat(client: FastClient, ports: dict[str, int]) -> None:
    """Write the status of the nodes as their kubelets would, so that no controller evicts their pods."""
    for name, port in ports.items():
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": timestamp()}
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [ready],
        }
        await client.merge(f"/api/v1/nodes/{name}/status", orjson.dumps({"status": status}))
