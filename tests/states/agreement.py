"""Those who read the conditions of a server must come to one conclusion: kubectl wait, and kstatus as Flux has it."""

from __future__ import annotations

from tests.support.kube import KIND, Kube, Object, condition


def check(kube: Kube, namespace: str, server: Object) -> None:
    """Fail unless kubectl, kstatus and the server's own phase agree."""
    ready, stalled = condition(server, "Ready")["status"], condition(server, "Stalled")["status"]
    for kind, status in (("Ready", ready), ("Stalled", stalled)):
        kube.kubectl(
            "-n", namespace, "wait", f"vllmserver/{server['metadata']['name']}",
            f"--for=condition={kind}={status}", "--timeout=5s",
        )  # fmt: skip
    conclusion = kstatus(server)
    wanted = "Current" if ready == "True" else "Failed" if stalled == "True" else "InProgress"
    assert conclusion == wanted, (conclusion, wanted, server["kind"] == KIND)
    assert not (ready == "True" and stalled == "True")


def kstatus(server: Object) -> str:
    """The conclusion of kstatus (sigs.k8s.io/cli-utils/pkg/kstatus) for a kind that it does not know."""
    status = server.get("status") or {}
    if status.get("observedGeneration") != server["metadata"]["generation"]:
        return "InProgress"
    if condition(server, "Reconciling").get("status") == "True":
        return "InProgress"
    if condition(server, "Stalled").get("status") == "True":
        return "Failed"
    ready = condition(server, "Ready").get("status")
    return "Current" if ready in {"True", None} else "InProgress"
