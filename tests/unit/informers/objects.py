"""Objects for the tests of the cache."""

from __future__ import annotations

from typing import Any

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


def held(store: Store, name: str = "mistral") -> int | None:
    """Return the version of the Service that the store holds; None when it holds none."""
    found = store.get("Service", "llm", name)
    return found["spec"]["version"] if found else None
