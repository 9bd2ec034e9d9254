"""The bare loop: the same servers, children and statuses, written by the fastest client without any operator."""

from __future__ import annotations

import time
from typing import Any

import orjson

from tools.bench.loop import FastClient
from tools.bench.pacing import each
from tools.bench.subject import Subject

KINDS = {
    "deployments": "Deployment",
    "services": "Service",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "podmonitors": "PodMonitor",
    "prometheusrules": "PrometheusRule",
}
FILLED_IN = {"services": {"clusterIP", "clusterIPs"}, "persistentvolumeclaims": {"volumeName"}}
"""Fields that the API server fills in and refuses in a new object."""

Template = dict[str, dict[str, Any]]


async def recorded(client: FastClient, subject: Subject, namespace: str) -> Template:
    """Children and status of the one server of a namespace, as the operator applied them."""
    found: Template = {}
    for plural in subject.children:
        (item,) = (await client.get(subject.path(namespace, plural)))["items"]
        metadata = {key: item["metadata"][key] for key in ("name", "labels", "annotations")}
        spec = {key: value for key, value in item["spec"].items() if key not in FILLED_IN.get(plural, set())}
        found[plural] = {"metadata": metadata, "spec": spec}
    found["status"] = (await client.get(subject.path(namespace)))["items"][0]["status"]
    return found


async def write(client: FastClient, subject: Subject, namespace: str, count: int, template: Template) -> float:
    """Write `count` servers and all that belongs to them; the seconds that it took. No operator may run."""
    await client.namespace(namespace)

    async def one(index: int) -> None:
        name = f"s{index:05d}"
        await client.post(subject.path(namespace), subject.resource(namespace, name))
        for plural, root in subject.children.items():
            body = _child(plural, root, template[plural], namespace, name)
            await client.apply(f"{subject.path(namespace, plural)}/{name}", body)
        await client.merge(f"{subject.path(namespace)}/{name}/status", orjson.dumps({"status": template["status"]}))

    started = time.monotonic()
    await each(range(count), one)
    return time.monotonic() - started


def _child(plural: str, root: str, recorded: dict[str, Any], namespace: str, name: str) -> bytes:
    """Return a child under another name, with labels of the bench, so that the operator does not cache it."""
    version = root.removeprefix("/apis/").removeprefix("/api/")
    metadata = {**recorded["metadata"], "name": name, "namespace": namespace}
    text = orjson.dumps({"apiVersion": version, "kind": KINDS[plural], "metadata": metadata, "spec": recorded["spec"]})
    instance, manager = b'"app.kubernetes.io/instance":"%s"', b'"app.kubernetes.io/managed-by":"%s"'
    text = text.replace(instance % b"sample", instance % name.encode())
    return text.replace(manager % b"vllm-operator", manager % b"bench")
