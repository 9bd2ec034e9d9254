"""The bootstrap of Envoy: everything that does not change while a pod runs."""

from __future__ import annotations

from typing import Any

from vllm_operator.gateway.envoy.names import ADMIN_CLUSTER, LIMITS_CLUSTER, TYPE, PodLayout, config_source

MAX_CONNECTIONS = 20_000
"""Connections of clients to one pod. Each takes some 60 kB with an open stream (measured)."""
MAX_ANSWER_BYTES = 4_194_304
"""Bytes of an answer that Envoy itself reads, such as the public keys of an issuer of tokens."""
PREMATURE_RESETS = 200
"""Streams that a client may reset early before Envoy closes its connection (HTTP/2 rapid reset)."""


def bootstrap(layout: PodLayout, name: str, max_heap_bytes: int | None = None) -> dict[str, Any]:
    """Return the bootstrap.

    Args:
        layout: where the containers find each other.
        name: name of the VLLMGateway.
        max_heap_bytes: memory at which Envoy refuses requests instead of being killed; None without a limit.
    """
    return {
        "node": {"id": name, "cluster": name},
        "admin": {"address": {"pipe": {"path": layout.admin_socket, "mode": 0o600}}},
        "dynamic_resources": {
            "lds_config": config_source(layout, "lds", "lds.json"),
            "cds_config": config_source(layout, "cds", "cds.json"),
        },
        "static_resources": {
            "clusters": [
                _socket_cluster(LIMITS_CLUSTER, layout.limits_socket, http2=True),
                _socket_cluster(ADMIN_CLUSTER, layout.admin_socket, http2=False),
            ]
        },
        "overload_manager": _overload_manager(max_heap_bytes),
        "layered_runtime": {
            "layers": [
                {
                    "name": "static",
                    "static_layer": {
                        "overload.premature_reset_total_stream_count": PREMATURE_RESETS,
                        "http.max_requests_per_io_cycle": 16,
                        "http.async_response_buffer_limit": MAX_ANSWER_BYTES,
                    },
                }
            ]
        },
    }


def _socket_cluster(name: str, path: str, *, http2: bool) -> dict[str, Any]:
    protocol: dict[str, Any] = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {options: {"@type": TYPE + options, "explicit_http_config": protocol}},
        "circuit_breakers": {"thresholds": [{"max_requests": 100_000, "max_pending_requests": 100_000}]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": path}}}}]}],
        },
    }


def _monitor(name: str, type_name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": f"envoy.resource_monitors.{name}",
        "typed_config": {"@type": f"{TYPE}envoy.extensions.resource_monitors.{type_name}", **fields},
    }


def _action(name: str, monitor: str, value: float) -> dict[str, Any]:
    trigger = {"name": f"envoy.resource_monitors.{monitor}", "threshold": {"value": value}}
    return {"name": f"envoy.overload_actions.{name}", "triggers": [trigger]}


def _overload_manager(max_heap_bytes: int | None) -> dict[str, Any]:
    monitors = [
        _monitor(
            "global_downstream_max_connections",
            "downstream_connections.v3.DownstreamConnectionsConfig",
            max_active_downstream_connections=MAX_CONNECTIONS,
        )
    ]
    actions = []
    if max_heap_bytes is not None:
        monitors.append(_monitor("fixed_heap", "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=max_heap_bytes))
        actions = [_action("shrink_heap", "fixed_heap", 0.8), _action("stop_accepting_requests", "fixed_heap", 0.95)]
    return {"refresh_interval": "0.25s", "resource_monitors": monitors, "actions": actions}
