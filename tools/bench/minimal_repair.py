"""The minimal repair loop, a lower bound for repairs: it writes prepared manifests as soon as a watch event arrives.

Run it with `python -m tools.bench.minimal_repair KUBECONFIG NAMESPACE`. It keeps no cache and checks nothing, so its
latency is the time of the API server: from the change to the watch event, and from the write to the response. For an
edit it is no strict bound: its write often arrives at the same time as the Deployment controller's status, and then
takes longer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import uvloop

from tools.bench.latency import EDITED
from tools.bench.loop import FastClient
from vllm_operator.api.names import MANAGER

COLLECTIONS = ("/api/v1/namespaces/{}/services", "/apis/apps/v1/namespaces/{}/deployments")


def recorded(listing: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the manifest that the operator applied for each object of a list, by name."""
    head = {"apiVersion": listing["apiVersion"], "kind": listing["kind"].removesuffix("List")}
    return {item["metadata"]["name"]: orjson.dumps(head | _applied(item)) for item in listing["items"]}


def _applied(item: Mapping[str, Any]) -> dict[str, Any]:
    entries = item["metadata"]["managedFields"]
    (fields,) = [one["fieldsV1"] for one in entries if (one["manager"], one["operation"]) == (MANAGER, "Apply")]
    body: dict[str, Any] = _owned(item, fields)
    body["metadata"] |= {key: item["metadata"][key] for key in ("name", "namespace")}
    return body


def _owned(value: Any, fields: Mapping[str, Any]) -> Any:
    """Return the part of a value that a field set names, without the defaults of the API server."""
    if not fields:
        return value
    if isinstance(value, dict):
        return {key: _owned(value[key], fields[f"f:{key}"]) for key in value if f"f:{key}" in fields}
    named = [(json.loads(name.removeprefix("k:")), below) for name, below in fields.items() if name != "."]
    return [_owned(item, below) for item in value for keys, below in named if keys.items() <= item.items()]


def asks(event: Mapping[str, Any]) -> bool:
    """Return whether an event is one that the bench causes: a deleted Service, or a Deployment that it edited."""
    found = event["object"]
    if found["kind"] == "Service":
        return bool(event["type"] == "DELETED")
    return bool(found["spec"]["progressDeadlineSeconds"] == EDITED)


async def answer(client: FastClient, path: str, listing: Mapping[str, Any]) -> None:
    """Write the manifest of each changed object at once, until the watch ends."""
    bodies, answered = recorded(listing), set()
    async for event in client.watch(path, listing["metadata"]["resourceVersion"]):
        metadata = event["object"]["metadata"]
        # The status of an edited Deployment is written, too, maybe before the answer.
        change = metadata["uid"], metadata.get("generation")
        if asks(event) and change not in answered:
            answered.add(change)
            await client.apply(f"{path}/{metadata['name']}", bodies[metadata["name"]])


async def run(kubeconfig: Path, namespace: str) -> None:
    """List the objects once, then repair each change."""
    async with FastClient(kubeconfig, MANAGER) as client:
        paths = [collection.format(namespace) for collection in COLLECTIONS]
        # One connection more than the watches take: the first write needs no handshake, as those of the operator.
        *listings, _ = await asyncio.gather(*map(client.get, [*paths, paths[0]]))
        print("ready", flush=True)
        await asyncio.gather(*(answer(client, path, listing) for path, listing in zip(paths, listings, strict=True)))


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1]), sys.argv[2]))
