"""Those who wait for a server must come to one conclusion: kubectl, Flux (kstatus), and Argo CD by our script."""

from __future__ import annotations

from tests.helpers.gitops import argocd_health, kstatus
from tools.harness.kube import Kube, Object, condition

ARGO_CD = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}


def check(kube: Kube, namespace: str, server: Object) -> str:
    """Fail unless all agree; return what Flux and Argo CD make of it."""
    ready, stalled = condition(server, "Ready")["status"], condition(server, "Stalled")["status"]
    for kind, status in (("Ready", ready), ("Stalled", stalled)):
        kube.kubectl(
            "-n", namespace, "wait", f"vllmserver/{server['metadata']['name']}",
            f"--for=condition={kind}={status}", "--timeout=5s",
        )  # fmt: skip
    flux, argo_cd = kstatus(server), argocd_health(server)
    wanted = "Current" if ready == "True" else "Failed" if stalled == "True" else "InProgress"
    assert (flux, argo_cd) == (wanted, ARGO_CD[wanted])
    assert not (ready == "True" and stalled == "True")
    return f"{flux}, {argo_cd}"
