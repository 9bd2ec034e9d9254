"""Forward a local port to one pod, by the port-forward of the client library, for as long as a command runs."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import FAILED, UNAVAILABLE
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import name_of, namespace_of
from vllm_operator.client.cluster_api import ClusterApi
from vllm_operator.client.errors import DiscoveryFailed, ModelNotReady
from vllm_operator.client.port_forward import PortForwarder

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster


FORWARDING_THREADS = "Kubernetes port forward"
"""Beginning of the names of the official client's threads that copy bytes (module `kubernetes.stream.ws_client`)."""


@functools.cache
def _quiet_threads() -> None:
    """Print no traceback of a forwarding thread whose connection was closed, as when a command ends by ctrl-C."""
    report = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else ""
        is_closed = failure.exc_type is not None and issubclass(failure.exc_type, OSError | ValueError)
        if not (name.startswith(FORWARDING_THREADS) and is_closed):
            report(failure)

    threading.excepthook = hook


class OnePod(ClusterApi):
    """The cluster as the forwarder sees it: with one pod, so that each connection leads there.

    Args:
        cluster: the cluster.
        pod: the pod.
    """

    def __init__(self, cluster: Cluster, pod: Mapping[str, Any]) -> None:
        super().__init__(cluster.access.configuration, namespace_of(pod), inside=False)
        self._pod = pod

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the list with the pod, without a call."""
        return {"items": [self._pod]}


class Tunnel:
    """A local port that a forwarder serves. Use it in a `with` block.

    Args:
        forwarder: the forwarder.
        what: what it leads to, in words.

    Attributes:
        url: local base URL.
    """

    def __init__(self, forwarder: PortForwarder, what: str) -> None:
        self._forwarder = forwarder
        self._what = what
        self.url = ""

    def __enter__(self) -> Self:
        """Open the port.

        Raises:
            CallError: a right is missing, or the API server does not reach the pod.
        """
        _quiet_threads()
        try:
            self.url = self._forwarder.start()
        except ModelNotReady as error:
            raise CallError(f"{self._what} is not ready, so no port is forwarded to it", FAILED) from error
        except DiscoveryFailed as error:
            is_right = "no right" in str(error)
            hint = (
                "" if is_right else ": check that the API server reaches the kubelet of its node, as for kubectl logs"
            )
            raise CallError(clean(error, 600) + hint, UNAVAILABLE if is_right else FAILED) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port and its connections."""
        self._forwarder.close()


class PodTunnel(Tunnel):
    """A local port that leads to the port of vLLM in a pod.

    Args:
        cluster: the cluster.
        pod: the pod.
    """

    def __init__(self, cluster: Cluster, pod: Mapping[str, Any]) -> None:
        name = name_of(pod)
        super().__init__(PortForwarder(OnePod(cluster, pod), namespace_of(pod), name), f"pod {name}")


class ServerTunnel(Tunnel):
    """A local port of which each connection leads to the ready replica with the fewest connections.

    Args:
        cluster: the cluster.
        name: name of the server.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        api = ClusterApi(cluster.access.configuration, cluster.namespace, inside=False)
        super().__init__(PortForwarder(api, cluster.namespace, name), f"VLLMServer {name}")
