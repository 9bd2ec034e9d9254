"""Clusters and endpoints: one cluster for each server and kind of routing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from vllm_operator.gateway.envoy.names import TRACING_CLUSTER, TYPE, PodLayout, config_source
from vllm_operator.gateway.snapshot import ReplicaEndpoint

LB = "envoy.load_balancing_policies."
BALANCE_PERCENT = 200
"""Open requests of a replica, in percent of the mean, from which a prefix moves on to the next replica. Measured by
`make bench-gateway` with 400 users on 20 replicas: 97.5 % of the possible hits, and 1.3 times the mean of requests on
the busiest replica; 150 gives 94.2 % and up to 1.4 times, 175 gives 96.8 % and 1.3 times."""
CHOICES = 4
"""Replicas of which the one with the fewest requests is taken."""
UNBOUNDED = 100_000
MAX_WATCHED = 16
"""Clusters whose endpoints are files. Envoy takes an inotify instance for each, Linux gives 128 to all processes of a
user on a node by default, and without one Envoy ends. The endpoints of further clusters are parts of cds.json: their
change replaces the cluster, and so its counts of open requests begin again."""


def _policy(routing: str) -> dict[str, Any]:
    if routing == "LeastRequest":
        return {
            "name": LB + "least_request",
            "typed_config": {
                "@type": f"{TYPE}envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
                "choice_count": CHOICES,
            },
        }
    return {
        "name": LB + "maglev",
        "typed_config": {
            "@type": f"{TYPE}envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
            "consistent_hashing_lb_config": {"hash_balance_factor": BALANCE_PERCENT},
        },
    }


def cluster(layout: PodLayout, name: str, routing: str) -> dict[str, Any]:
    """Return the cluster of a server."""
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {
            "service_name": name,
            "eds_config": config_source(layout, f"eds-{name}", "eds.json"),
        },
        "per_connection_buffer_limit_bytes": 1_048_576,
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": UNBOUNDED,
                    "max_pending_requests": UNBOUNDED,
                    "max_requests": UNBOUNDED,
                    "max_retries": 1000,
                }
            ]
        },
        "outlier_detection": {
            "consecutive_5xx": 5,
            "interval": "1s",
            "base_ejection_time": "5s",
            "max_ejection_time": "30s",
            "max_ejection_percent": 50,
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
        },
        # Never send to an ejected replica or to the agent while another replica is left.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_balancing_policy": {"policies": [{"typed_extension_config": _policy(routing)}]},
    }


def with_endpoints(body: dict[str, Any], assignment: dict[str, Any]) -> dict[str, Any]:
    """Return a cluster that holds its endpoints itself, instead of in a file that Envoy watches."""
    kept = {key: value for key, value in body.items() if key != "eds_cluster_config"}
    inline = {key: value for key, value in assignment.items() if key != "@type"}
    return {**kept, "type": "STATIC", "load_assignment": inline}


def endpoints(layout: PodLayout, name: str, ready: Iterable[ReplicaEndpoint], *, holds: bool) -> dict[str, Any]:
    """Return the endpoints of a cluster; the agent, which holds requests, takes them while there is no other one."""
    places = [_socket(endpoint) for endpoint in ready]
    groups: list[dict[str, Any]] = [{"priority": 0, "lb_endpoints": places}]
    if holds:
        agent = {"endpoint": {"address": {"pipe": {"path": layout.hold_socket}}}}
        groups.append({"priority": 1, "lb_endpoints": [agent]})
    return {
        "@type": TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": name,
        "endpoints": groups,
        # With the default of 140, a pool of which a third is ejected would send a part of its requests to the agent.
        "policy": {"overprovisioning_factor": UNBOUNDED},
    }


def _socket(endpoint: ReplicaEndpoint) -> dict[str, Any]:
    address = {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
    return {"endpoint": {"address": address}}


def tracing_cluster(url: str) -> dict[str, Any]:
    """Return the cluster of the OTLP collector at a URL."""
    parts = urlsplit(url)
    address = {"socket_address": {"address": parts.hostname or "", "port_value": parts.port or 4318}}
    return {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": TRACING_CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": TRACING_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
