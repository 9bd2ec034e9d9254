"""Find the Ingresses and HTTPRoutes that lead traffic from outside to a server's Service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.servers import field, items, name_of
from vllm_operator.kube.kinds import Kind

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

INGRESS = Kind("Ingress", "networking.k8s.io", "v1", "ingresses")
HTTP_ROUTE = Kind("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes")


def routes_to(cluster: Cluster, service: str) -> tuple[str, ...] | None:
    """Return the objects of the namespace that lead to a Service; None if the user may not read them."""
    try:
        ingresses = cluster.list(INGRESS, cluster.namespace, most=1000)
        http_routes = _http_routes(cluster)
    except CallError as error:
        if error.is_forbidden:
            return None
        raise
    found = [
        f"Ingress {name_of(body)}{' (TLS)' if items(body, 'spec', 'tls') else ''}"
        for body in ingresses
        if service in _ingress_services(body)
    ]
    # The listener of the Gateway decides about TLS, and may stand in another namespace.
    found += [f"HTTPRoute {name_of(body)} (TLS by its Gateway)" for body in http_routes if service in _backends(body)]
    return tuple(found)


def _http_routes(cluster: Cluster) -> list[dict[str, Any]]:
    try:
        return cluster.list(HTTP_ROUTE, cluster.namespace, most=1000)
    except CallError as error:
        if error.is_missing_kind:
            return []
        raise


def _ingress_services(ingress: Mapping[str, Any]) -> Iterator[str]:
    yield str(field(ingress, "spec", "defaultBackend", "service", "name"))
    for rule in items(ingress, "spec", "rules"):
        for path in items(rule, "http", "paths"):
            yield str(field(path, "backend", "service", "name"))


def _backends(route: Mapping[str, Any]) -> Iterator[str]:
    for rule in items(route, "spec", "rules"):
        for backend in items(rule, "backendRefs"):
            if backend.get("kind", "Service") == "Service":
                yield str(backend.get("name"))
