"""Settings of the operator process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Settings:
    """What the command line decides.

    Attributes:
        namespaces: the namespaces to serve; none for the whole cluster.
        listen: `host:port` of /healthz, /readyz and /metrics.
        workers: servers that are worked on at once.
        lease_namespace: namespace of the Lease by which one of several operators leads; None to lead without one.
        runbooks: URL of the runbooks that alerts link to, `%s` for the alert; empty for no links.
    """

    namespaces: tuple[str, ...] = ()
    listen: str = ":8080"
    workers: int = 32
    lease_namespace: str | None = None
    runbooks: str = ""


def choose_lease_namespace(elect: bool | None, wanted: str | None, served: Sequence[str]) -> str | None:
    """Namespace of the Lease: the wanted one, the pod's own, the first that is served; None without election.

    Args:
        elect: what the user asked for; None means in a pod only.
        wanted: the namespace that the user asked for, if any.
        served: the namespaces that are served; none for all.
    """
    own = pod_namespace()
    if elect is False or (elect is None and own is None):
        return None
    return wanted or own or next(iter(served), "default")


def pod_namespace() -> str | None:
    """Namespace of the pod that this process runs in; None outside of a cluster."""
    try:
        return NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None
