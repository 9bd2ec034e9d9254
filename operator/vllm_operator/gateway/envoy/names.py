"""Names, paths and headers that the parts of the configuration share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TYPE = "type.googleapis.com/"

CLUSTER_HEADER = "x-vllm-gateway-cluster"
LIMITED_HEADER = "x-vllm-gateway-limited"
MIRROR_HEADER = "x-vllm-gateway-mirror"
HASH_HEADER = "x-vllm-gateway-hash"
KEY_HEADER = "x-vllm-gateway-key"
MODEL_HEADER = "x-vllm-gateway-model"
HOLD_HEADER = "x-vllm-gateway-hold"
"""Seconds between two comments of a stream that is held, for the agent."""
BYTES_HEADER = "x-vllm-gateway-bytes"
"""Bytes of a body that came without a length, for the agent."""
COMMENTS_HEADER = "x-vllm-hold-comments"
"""Header by which a client asks for comments while its stream is held, with the seconds between two of them."""
REFUSED_HEADER = "x-vllm-gateway-refused"
"""Set on a request that the Lua filter refuses with its own words."""
REQUEST_HEADER = "x-vllm-gateway-request"
"""Id of a request for the agent. Envoy keeps an x-request-id that a client in the cluster sends, so it may repeat."""
OWN_HEADERS = (
    CLUSTER_HEADER,
    LIMITED_HEADER,
    MIRROR_HEADER,
    HASH_HEADER,
    KEY_HEADER,
    MODEL_HEADER,
    HOLD_HEADER,
    BYTES_HEADER,
    REFUSED_HEADER,
    REQUEST_HEADER,
)
"""Headers that the gateway sets. Those of clients are removed before anything reads them."""

METADATA = "vllm.gateway"
"""Namespace of the dynamic metadata that the Lua filter writes."""

RESUME_ROUTES = "resume"
"""Name of the routes of held streams."""

LIMITS_CLUSTER = "agent-limits"
ADMIN_CLUSTER = "envoy-admin"
TRACING_CLUSTER = "otlp-collector"


@dataclass(frozen=True)
class PodLayout:
    """Where the containers of one pod find each other.

    Attributes:
        address: address that the listeners bind.
        port: port for clients.
        health_port: port of /ready and /metrics.
        xds: folder of the files that Envoy watches.
        run: folder of the Unix sockets.
        tls: folder of tls.crt and tls.key.
    """

    address: str = "0.0.0.0"
    port: int = 8080
    health_port: int = 8081
    xds: str = "/xds"
    run: str = "/run/gateway"
    tls: str = "/tls"

    @property
    def admin_socket(self) -> str:
        """Return the Unix socket of Envoy's administration."""
        return f"{self.run}/admin.sock"

    @property
    def limits_socket(self) -> str:
        """Return the Unix socket on which the agent answers rate limit calls."""
        return f"{self.run}/limits.sock"

    @property
    def resume_socket(self) -> str:
        """Return the Unix socket on which Envoy takes held streams back from the agent."""
        return f"{self.run}/resume.sock"

    @property
    def hold_socket(self) -> str:
        """Return the Unix socket on which the agent holds requests."""
        return f"{self.run}/hold.sock"


def config_source(layout: PodLayout, folder: str, file: str) -> dict[str, Any]:
    """Return the source of a file that is replaced by rename. Each file has its own folder.

    Envoy reads every file of a watched folder again after any rename in it.
    """
    path = f"{layout.xds}/{folder}"
    return {
        "path_config_source": {"path": f"{path}/{file}", "watched_directory": {"path": path}},
        "resource_api_version": "V3",
    }


def extension(name: str, type_name: str, **fields: Any) -> dict[str, Any]:
    """Return a typed extension of Envoy."""
    return {"name": name, "typed_config": {"@type": TYPE + type_name, **fields}}
