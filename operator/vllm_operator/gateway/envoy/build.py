"""Build all files that Envoy watches from one snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vllm_operator.gateway.envoy.clusters import MAX_WATCHED, cluster, endpoints, tracing_cluster, with_endpoints
from vllm_operator.gateway.envoy.jwt import JWKS_CLUSTER, jwks_cluster
from vllm_operator.gateway.envoy.listeners import listeners, tls_secret
from vllm_operator.gateway.envoy.names import PodLayout
from vllm_operator.gateway.envoy.routes import resume_routes, routes
from vllm_operator.gateway.models import Resolution, cluster_name, resolve_models, server_of
from vllm_operator.gateway.snapshot import GatewaySnapshot


@dataclass(frozen=True)
class EnvoyFiles:
    """The resources of Envoy.

    Attributes:
        endpoints: endpoints by the name of their cluster.
        clusters: clusters by name.
        routes: the route configuration.
        resume: the route configuration of held streams.
        listeners: the listeners.
        secrets: certificates.
    """

    endpoints: dict[str, dict[str, Any]]
    clusters: dict[str, dict[str, Any]]
    routes: dict[str, Any]
    resume: dict[str, Any]
    listeners: list[dict[str, Any]]
    secrets: list[dict[str, Any]]


def build_files(layout: PodLayout, snapshot: GatewaySnapshot, resolution: Resolution | None = None) -> EnvoyFiles:
    """Return the resources for a snapshot."""
    spec = snapshot.spec
    resolution = resolution or resolve_models(spec, snapshot.servers)
    used = sorted(_used_clusters(resolution))
    by_name = {server.name: server for server in snapshot.servers}
    holds = spec.holding.timeout_seconds > 0
    assignments = {
        (found := cluster_name(name, routing)): endpoints(layout, found, by_name[name].endpoints, holds=holds)
        for name, routing in used
    }
    clusters = {(found := cluster_name(name, routing)): cluster(layout, found, routing) for name, routing in used}
    for name in sorted(assignments)[MAX_WATCHED:]:
        clusters[name] = with_endpoints(clusters[name], assignments[name])
    if spec.tracing:
        collector = tracing_cluster(spec.tracing.endpoint)
        clusters[collector["name"]] = collector
    if spec.auth and spec.auth.jwt and spec.auth.jwt.jwks_uri:
        clusters[JWKS_CLUSTER] = jwks_cluster(spec.auth.jwt.jwks_uri)
    return EnvoyFiles(
        endpoints=assignments,
        clusters=clusters,
        routes=routes(snapshot, resolution),
        resume=resume_routes(spec),
        listeners=listeners(layout, spec),
        secrets=[tls_secret(layout)] if spec.tls else [],
    )


def _used_clusters(resolution: Resolution) -> Iterable[tuple[str, str]]:
    """Return server and routing of every cluster that a model names."""
    names = {target.cluster for model in resolution.models.values() for target in (*model.targets, *model.versions)} | {
        model.mirror[0] for model in resolution.models.values() if model.mirror
    }
    # The name of a server may hold dots, that of a routing has none.
    return {(server_of(name), name.rpartition(".")[2]) for name in names}
