"""The operator that runs in the cluster: away from the replicas, and restarted at will."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tools.harness.kube import Kube
from tools.harness.real_cluster import NAME, SYSTEM

LOOKS_SECONDS = 8.0
"""How long a restarted operator is watched: it has looked at everything, and asked every replica, by then."""

START_SECONDS = 90.0


def move_to(kube: Kube, node: str) -> None:
    """Move the operator to a separate node, so that it outlives the other one."""
    where = {"nodeSelector": {"kubernetes.io/hostname": node}}
    kube.patch("Deployment", NAME, SYSTEM, {"spec": {"template": {"spec": where}}})
    kube.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=90s")


def restart(kube: Kube) -> None:
    """Delete the operator's pod, and return when the next one has been at work for a while."""
    before = _leader(kube)
    kube.kubectl("-n", SYSTEM, "delete", "pods", "--all", "--wait=false")
    deadline = time.monotonic() + START_SECONDS
    while _leader(kube) in ("", before):
        assert time.monotonic() < deadline, "no other operator leads"
        time.sleep(0.2)
    time.sleep(LOOKS_SECONDS)


@contextlib.contextmanager
def away(kube: Kube) -> Iterator[None]:
    """No operator at all, until `comes_back` or the end."""
    _scale(kube, 0)
    kube.eventually(lambda: not kube.list("Pod", SYSTEM), within=START_SECONDS)
    try:
        yield
    finally:
        comes_back(kube)


def comes_back(kube: Kube) -> None:
    """Start the operator that was away, and do not wait for it."""
    _scale(kube, 1)


def _scale(kube: Kube, replicas: int) -> None:
    kube.kubectl("-n", SYSTEM, "scale", f"deployment/{NAME}", f"--replicas={replicas}")


def _leader(kube: Kube) -> str:
    """Identity of the process that holds the lease; empty while nobody does."""
    lease = kube.kubectl("-n", SYSTEM, "get", "lease", NAME, "-o", "jsonpath={.spec.holderIdentity}", check=False)
    return lease.stdout.strip()
