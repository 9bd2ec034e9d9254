"""The children of the last release, taken over by this operator: no Deployment is replaced, pods only on purpose."""

from __future__ import annotations

import copy

from tests.integration.servers import Servers, child_name
from tests.upgrade.snapshots import Snapshot, acknowledged_restart, load, versions
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.names import MANAGER
from vllm_operator.api.server import parse_server
from vllm_operator.validation.references import Reference, references

LAST = versions()[-1]


def make_referred(kube: Kube, namespace: str, found: tuple[Reference, ...]) -> None:
    """Create the Secrets and claims that a server refers to."""
    keys: dict[str, dict[str, str]] = {}
    for one in found:
        if one.kind == "Secret":
            keys.setdefault(one.name, {})[str(one.key)] = "x"
            continue
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        kube.apply(
            {"apiVersion": "v1", "kind": one.kind, "metadata": {"name": one.name}, "spec": spec}, namespace=namespace
        )
    for name, data in keys.items():
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        kube.apply(secret, namespace=namespace)


def install(kube: Kube, namespace: str, one: Snapshot) -> None:
    """A server with its children, as the release left them: by its field manager, and owned by the server."""
    bare = {**one.server, "metadata": {"name": one.server["metadata"]["name"]}}
    make_referred(kube, namespace, references(parse_server(one.server)))
    server = kube.create(bare, namespace)
    for body in copy.deepcopy(list(one.children.values())):
        body["metadata"]["namespace"] = namespace
        for owner in body["metadata"].get("ownerReferences", ()):
            owner["uid"] = server["metadata"]["uid"]
        kube.apply(body, "--server-side", f"--field-manager={MANAGER}", namespace=namespace)


def pods(kube: Kube, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in kube.list("Pod", namespace)}


def started(kube: Kube, namespace: str, one: Snapshot) -> bool:
    """Return whether the Deployment's controller observed it; pods may lack a PriorityClass."""
    body = deployment(kube, namespace, one)
    return bool((body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"])


def identity(deployment: Object) -> tuple[str, Object, Object]:
    """Return what no upgrade may change: the object, its selector and its owner."""
    metadata = deployment["metadata"]
    return metadata["uid"], deployment["spec"]["selector"], metadata["ownerReferences"]


def rollout(deployment: Object) -> tuple[str, Object]:
    """Return what a rollout would change. The generation also counts annotations, whose hash covers the owner's UID."""
    return deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], deployment["spec"]


def deployment(kube: Kube, namespace: str, one: Snapshot) -> Object:
    return kube.must_get("Deployment", child_name("Deployment", one.server["metadata"]["name"]), namespace)


def test_operator_takes_over_from_the_last_release(kube: Kube, plane: Plane) -> None:
    snapshots = list(load(LAST))
    with kube.namespace("upgrade") as namespace:
        for one in snapshots:
            install(kube, namespace, one)
        kube.eventually(lambda: all(started(kube, namespace, one) for one in snapshots), within=60)
        before = {one.name: deployment(kube, namespace, one) for one in snapshots}
        running = pods(kube, namespace)
        assert running, "nothing runs that could be replaced"
        log = plane.folder / "logs" / f"{namespace}.log"
        process = OperatorProcess(plane.kubeconfig, log, ["--namespace", namespace])
        process.start()
        try:
            process.wait_ready()
            servers = Servers(kube, namespace)
            for one in snapshots:
                servers.settled(one.server["metadata"]["name"], within=60)
                servers.accepted(one.server["metadata"]["name"], within=30)
        finally:
            process.stop()
        after = {one.name: deployment(kube, namespace, one) for one in snapshots}
        assert {name: identity(body) for name, body in after.items()} == {
            name: identity(body) for name, body in before.items()
        }
        if reason := acknowledged_restart(LAST):
            print(f"this upgrade restarts pods on purpose: {reason}")
            return
        assert {name: rollout(body) for name, body in after.items()} == {
            name: rollout(body) for name, body in before.items()
        }
        assert running <= pods(kube, namespace)
