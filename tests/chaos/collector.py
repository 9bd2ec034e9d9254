"""Kubernetes' garbage collector, which knows a new CRD only after a while; what it does not know, it never collects."""

from __future__ import annotations

from tests.integration.servers import manifest
from tools.harness.kube import KIND, Kube


def await_garbage_collector(kube: Kube) -> None:
    """Wait until the garbage collector knows the CRD, which it looks for every half a minute."""
    with kube.namespace("collector") as namespace:
        owner = kube.create(manifest("owner", {}), namespace)
        reference = {name: owner[name] for name in ("apiVersion", "kind")}
        reference |= {name: owner["metadata"][name] for name in ("name", "uid")}
        metadata = {"name": "child", "ownerReferences": [reference]}
        kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, namespace)
        kube.delete(KIND, "owner", namespace)
        kube.eventually(lambda: kube.get("ConfigMap", "child", namespace) is None, within=90)
