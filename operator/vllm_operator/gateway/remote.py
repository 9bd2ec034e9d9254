"""Servers of other namespaces: the operator reads them for the gateway, and hands it their addresses. Pure.

The agent has no right outside of its namespace. It reads `status.remoteServers` of its VLLMGateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_operator.api.gateway import ServerReference
from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.api.names import ALLOW_GATEWAYS
from vllm_operator.gateway.keys import SecretData
from vllm_operator.gateway.observe import key_secret, out_of_use, served_names
from vllm_operator.gateway.snapshot import GatewayServer, ReplicaEndpoint
from vllm_operator.kube.fields import get, get_list, get_map, get_str
from vllm_operator.kube.types import Object
from vllm_operator.probing.targets import pod_endpoint

MAX_REMOTE_ENDPOINTS = 500
"""Replicas of one server of another namespace: the status of the gateway holds their addresses."""


class Neighbours(Protocol):
    """The caches of the operator, of all namespaces that it serves."""

    def server(self, namespace: str, name: str) -> Object | None:
        """Return a VLLMServer."""

    def replicas(self, namespace: str, name: str) -> list[Object]:
        """Return the pods of a VLLMServer."""


@dataclass(frozen=True)
class RemoteServers:
    """The servers of other namespaces that a gateway may use.

    Attributes:
        rows: `status.remoteServers`.
        problems: one sentence for each reference that is refused.
    """

    rows: tuple[dict[str, Any], ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def has_sleeping(self) -> bool:
        """Return whether requests may wait for one of them."""
        return any(not row["endpoints"] for row in self.rows)

    def names(self) -> frozenset[tuple[str, str]]:
        """Return namespace and name of each."""
        return frozenset((row["namespace"], row["name"]) for row in self.rows)


NO_REMOTE_SERVERS = RemoteServers()


def remote_name(namespace: str, name: str) -> str:
    """Return the name of a server of another namespace in this gateway."""
    return f"{namespace}/{name}"


def find_remote(gateway: VLLMGateway, neighbours: Neighbours) -> RemoteServers:
    """Return the referenced servers whose owners allow the gateway's namespace."""
    rows, problems = [], []
    for reference in gateway.spec.servers.references:
        found = _row(gateway.namespace, reference, neighbours)
        if isinstance(found, str):
            name = remote_name(reference.namespace, reference.name)
            problems.append(f"spec.servers.references: {name}: {found}")
        else:
            rows.append(found)
            if len(found["endpoints"]) == MAX_REMOTE_ENDPOINTS:
                problems.append(
                    f"spec.servers.references: {remote_name(reference.namespace, reference.name)}: no more than "
                    f"{MAX_REMOTE_ENDPOINTS} of its replicas get requests: put a gateway into its namespace"
                )
    return RemoteServers(tuple(rows), tuple(problems))


def _row(namespace: str, reference: ServerReference, neighbours: Neighbours) -> dict[str, Any] | str:
    """Return the row of one server in the status, or the reason against it."""
    label = f"{ALLOW_GATEWAYS}/{namespace}"
    body = neighbours.server(reference.namespace, reference.name)
    allowed = get_str(body, "metadata", "labels", label) == "true"
    if reference.namespace == namespace:
        return "this is the namespace of the gateway itself: name it in spec.servers.names"
    if body is None or not allowed or get(body, "metadata", "deletionTimestamp") is not None:
        # The same words for all: a gateway must not find out which servers other namespaces have.
        return f"there is no such server that allows this namespace: its owner sets the label {label}=true on it"
    if key_secret(body)[0] and reference.api_key_secret_ref is None:
        return (
            "it asks for an API key: let its owner give you the key, write it into a Secret of this namespace, and "
            "name that in apiKeySecretRef"
        )
    names = list(served_names(body))
    pods = neighbours.replicas(reference.namespace, reference.name)
    endpoints = sorted(_ready_addresses(pods, out_of_use(body)))[:MAX_REMOTE_ENDPOINTS]
    return {
        "namespace": reference.namespace,
        "name": reference.name,
        "servedModels": names[:64],
        "endpoints": endpoints,
    }


def _ready_addresses(pods: Iterable[Object], out: frozenset[str]) -> set[str]:
    """Return address and port of each replica that takes requests."""
    found = set()
    for pod in pods:
        endpoint = pod_endpoint(pod, ())
        ends = get(pod, "metadata", "deletionTimestamp") is not None
        if endpoint and endpoint.ready and not ends and endpoint.pod not in out:
            found.add(endpoint.base_url.removeprefix("http://"))
    return found


def remote_states(
    references: Iterable[ServerReference], status: Mapping[str, Any], secrets: Mapping[str, SecretData | None]
) -> list[GatewayServer]:
    """Return the servers of other namespaces for a snapshot, of which only those that the spec names count.

    Args:
        references: spec.servers.references.
        status: the status of the gateway.
        secrets: the Secrets of the gateway's namespace by name.
    """
    rows = {(get_str(row, "namespace"), get_str(row, "name")): row for row in get_list(status, "remoteServers")}
    states = []
    for reference in references:
        row = rows.get((reference.namespace, reference.name))
        if row is None:
            continue
        key = reference.api_key_secret_ref
        api_key = (secrets.get(key.name) or {}).get(key.key, "").strip() if key else ""
        states.append(
            GatewayServer(
                name=remote_name(reference.namespace, reference.name),
                served_names=tuple(name for name in row.get("servedModels") or () if isinstance(name, str)),
                endpoints=tuple(sorted(_endpoints(row))),
                api_key=api_key,
            )
        )
    return states


def _endpoints(row: Object) -> Iterable[ReplicaEndpoint]:
    for text in (row.get("endpoints") or ())[:MAX_REMOTE_ENDPOINTS]:
        host, _, port = str(text).rpartition(":")
        if host and port.isdigit():
            yield ReplicaEndpoint(host.strip("[]"), int(port))


def missing_keys(references: Iterable[ServerReference], secrets: Mapping[str, SecretData | None]) -> tuple[str, ...]:
    """Return one sentence for each key of a server of another namespace that is missing."""
    problems = []
    for reference in references:
        key = reference.api_key_secret_ref
        if key and not (secrets.get(key.name) or {}).get(key.key, "").strip():
            name = remote_name(reference.namespace, reference.name)
            problems.append(
                f"spec.servers.references: {name}: the key {key.key} of the Secret {key.name} is missing: add it"
            )
    return tuple(problems)


def references_of(body: Object) -> frozenset[tuple[str, str]]:
    """Return namespace and name of the servers of other namespaces that a VLLMGateway names, read without a check."""
    found = get_list(get_map(body, "spec", "servers"), "references")
    return frozenset((get_str(one, "namespace"), get_str(one, "name")) for one in found)
