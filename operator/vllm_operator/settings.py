"""Define the settings of the operator process."""

from __future__ import annotations

import functools
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LEASE_NAME = "vllm-operator"
"""Name of the Lease for leader election."""

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Settings:
    """The settings that the command line sets.

    Attributes:
        namespaces: the namespaces to serve; empty for the whole cluster.
        listen: `host:port` of /healthz, /readyz and /metrics.
        workers: servers that are reconciled at once.
        lease_namespace: namespace of the Lease for leader election; None for no election.
        runbooks: URL of the runbooks that alerts link to, with `%s` for the name of the alert; empty for no links.
        restricted_pod_template: refuse pod templates that give further rights, but in namespaces labelled free.
        labelled_secrets: refuse Secrets without the label, but in namespaces that release all of them.
        server_metrics: number of servers whose status is exported as metrics; 0 exports none.
        restart_stalled: delete the pods of stalled engines where a server asks for it.
    """

    namespaces: tuple[str, ...] = ()
    listen: str = ":8080"
    workers: int = 32
    lease_namespace: str | None = None
    runbooks: str = ""
    restricted_pod_template: bool = False
    labelled_secrets: bool = False
    restart_stalled: bool = True
    server_metrics: int = 0


def choose_lease_namespace(elect: bool | None, wanted: str | None, served: Sequence[str]) -> str | None:
    """Return the namespace of the Lease: the wanted one, else the pod's own, else the first served one.

    Without leader election, return None.

    Args:
        elect: the user's choice; None for an election in a pod only.
        wanted: the namespace that the user asked for, if any.
        served: the namespaces that are served; empty for all.
    """
    own = pod_namespace()
    if elect is False or (elect is None and own is None):
        return None
    return wanted or own or next(iter(served), "default")


@functools.cache
def is_ipv6_cluster() -> bool:
    """Return whether the first address of each pod is an IPv6 address, as the address of the API server shows.

    Services and pods have the same first family. Outside of a cluster, return False.
    """
    try:
        return ipaddress.ip_address(os.environ.get("KUBERNETES_SERVICE_HOST", "")).version == 6
    except ValueError:
        return False


def pod_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in; None outside of a cluster."""
    try:
        return NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None
