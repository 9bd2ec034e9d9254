"""Objects for the tests of the cache."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from vllm_operator.api.names import selector_labels
from vllm_operator.informers.entry import Entry
from vllm_operator.informers.store import Store
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")


def child(
    name: str = "mistral",
    version: int = 1,
    uid: str = "u1",
    instance: str | None = "mistral",
    manager: str = "vllm-operator",
) -> dict[str, Any]:
    """Return a child as the API server sends it."""
    labels = {"app.kubernetes.io/managed-by": manager, **({"app.kubernetes.io/instance": instance} if instance else {})}
    metadata = {"namespace": "llm", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "spec": {"version": version}}


def owned(body: dict[str, Any], uid: str = "server") -> dict[str, Any]:
    """Return a child that the server `mistral` controls."""
    owner = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "name": "mistral", "uid": uid}
    return {**body, "metadata": {**body["metadata"], "ownerReferences": [{**owner, "controller": True}]}}


def replica(name: str, version: int = 1, deployment: str = "mistral") -> dict[str, Any]:
    """Return a pod of the Deployment, with its own name as its UID."""
    body = child(name, version, uid=name)
    body["metadata"]["labels"] |= {**selector_labels(deployment), "pod-template-hash": "5f9c6d7b8"}
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{deployment}-5f9c6d7b8", "controller": True}
    body["metadata"]["ownerReferences"] = [owner]
    return body


def held(store: Store, name: str = "mistral") -> int | None:
    """Return the version of the Service that the store holds; None when it holds none."""
    found = store.get("Service", "llm", name)
    return found["spec"]["version"] if found else None


def packed(*bodies: dict[str, Any]) -> list[Entry]:
    """Return Services as a list brings them."""
    return [Entry.of("Service", body) for body in bodies]


def take_list(store: Store, kind: str, entries: Iterable[Entry], before: Set[str], version: str = "") -> set[Key]:
    """Take over a complete list at once; return the keys of the servers of which an object changed or vanished."""
    return {key for key in store.replace(kind, entries, before, version) if key is not None}
