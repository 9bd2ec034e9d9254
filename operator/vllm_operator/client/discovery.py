"""The address of a VLLMServer: its Service inside the cluster, and outside a port-forward that this module manages."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from vllm_operator.client.config import ClientConfig
from vllm_operator.client.port_forward import PortForward

DEFAULT_PORT = 80
"""Port of the Service that the operator makes, unless `spec.service.port` sets another one."""
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""DNS label (RFC 1123): names of Services and namespaces."""
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""The file with the namespace of a pod."""
CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"
"""Environment variable that Kubernetes sets in every pod."""


@dataclass(frozen=True, slots=True)
class ServerName:
    """A VLLMServer. Without a namespace, it is that of the pod or of kubectl's context."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ServerName:
        """Return the server that `namespace/name`, or only `name`, names.

        Raises:
            ValueError: a part is no name of a Kubernetes object.
        """
        namespace, _, name = text.rpartition("/")
        for part, what in ((name, "name"), *(((namespace, "namespace"),) if "/" in text else ())):
            if not NAME.fullmatch(part):
                raise ValueError(
                    f"server: {text!r} has no valid {what}: write namespace/name, such as models/mistral, each with "
                    "at most 63 lower case letters, digits and '-'"
                )
        return cls(namespace, name)


def is_in_cluster() -> bool:
    """Return whether this process runs in a pod."""
    return CLUSTER_VARIABLE in os.environ


def service_url(server: ServerName, port: int) -> str:
    """Return the URL of the server's Service inside the cluster."""
    namespace = server.namespace or _own_namespace()
    return f"http://{server.name}.{namespace}.svc" + (f":{port}" if port != DEFAULT_PORT else "")


def connect(
    server: str, config: ClientConfig | None, port: int, context: str | None
) -> tuple[ClientConfig, PortForward | None]:
    """Return the configuration for a server, and the port-forward that it needs outside the cluster.

    Raises:
        ValueError: the server or the port has no valid form.
        ConnectionFailed: kubectl cannot forward a port to the server.
    """
    name = ServerName.parse(server)
    if isinstance(port, bool) or not 1 <= port <= 65535:
        raise ValueError(f"port: {port!r} is no port from 1 to 65535: use spec.service.port of the server")
    config = config or ClientConfig()
    if is_in_cluster() and context is None:
        return config.model_copy(update={"base_url": service_url(name, port)}), None
    forward = PortForward(name.namespace, name.name, port, context)
    forward.start()
    return config.model_copy(update={"base_url": forward.url}), forward


def _own_namespace() -> str:
    """Return the namespace of this pod."""
    try:
        namespace = NAMESPACE_FILE.read_text().strip()
    except OSError:
        namespace = ""
    if not NAME.fullmatch(namespace):
        raise ValueError("server: the namespace of this pod is not known: write namespace/name")
    return namespace
