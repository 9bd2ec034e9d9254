"""Define the settings of the operator process."""

from __future__ import annotations

import functools
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVICE_NAME = "vllm-operator"
"""Name of the Service in front of the operator, as the manifests name it."""

LEASE_NAME = "vllm-operator"
"""Name of the Lease for leader election."""

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


DEFAULT_ENVOY_IMAGE = "envoyproxy/envoy:distroless-v1.40.0"
"""The release of Envoy that the gateway is tested with."""


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
        metrics_api: `host:port` of the metrics API for autoscalers; None to serve none.
        metrics_service: namespace and name of the Service in front of it.
        envoy_image: image of Envoy for the VLLMGateways that name none.
        agent_image: image of the operator, for the agents of VLLMGateways; empty to leave gateways alone.
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
    metrics_api: str | None = None
    metrics_service: tuple[str, str] = ("", SERVICE_NAME)
    agent_image: str = ""
    envoy_image: str = DEFAULT_ENVOY_IMAGE


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


def metrics_role_name(service: str) -> str:
    """Return the name of the ClusterRole that allows to register the metrics API of a Service, and owns it."""
    return f"{service}-metrics-api"


def metrics_secret_name(service: str) -> str:
    """Return the name of the Secret with the serving certificate of the metrics API."""
    return f"{service}-metrics-tls"


def choose_metrics_service(wanted: bool | None, service: str, served: Sequence[str]) -> tuple[str, str] | None:
    """Return namespace and name of the Service of the metrics API; None when this process serves none.

    An operator of single namespaces serves none by itself: the API is one for the whole cluster.

    Args:
        wanted: the user's choice; None to serve it in a pod, for all namespaces.
        service: `name` or `namespace/name`; without a namespace, that of the pod.
        served: the namespaces that are served; empty for all.
    """
    namespace, _, name = service.rpartition("/")
    namespace = namespace or pod_namespace() or ""
    if wanted is False or (wanted is None and (served or pod_namespace() is None)):
        return None
    return (namespace or "default", name)


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
