"""Build the snapshot of a gateway from the objects of its namespace. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vllm_operator.api.gateway import GatewaySpec, SelectorRequirement, Servers
from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.api.names import child_name
from vllm_operator.api.server import parse_server
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.keys import KeyReading, SecretData, read_keys, secret_names
from vllm_operator.gateway.snapshot import GatewayServer, GatewaySnapshot, ReplicaEndpoint
from vllm_operator.kube.fields import get, get_int, get_list, get_map, get_str
from vllm_operator.kube.types import Object
from vllm_operator.vllm.arguments import engine_values
from vllm_operator.vllm.model_source import resolve_model

SERVICE_LABEL = "kubernetes.io/service-name"
OUT_OF_USE = frozenset({"Stalled", "Draining"})
"""Phases of replicas that get no requests, although Kubernetes may still report them as Ready."""
MAX_ENDPOINTS = 10_000


@dataclass(frozen=True)
class Observation:
    """The snapshot of a gateway, and the references that name nothing.

    Attributes:
        snapshot: the snapshot.
        keys: the API keys and their problems.
        problems: one sentence for each reference to a server, or for a server's key, that is refused.
    """

    snapshot: GatewaySnapshot
    keys: KeyReading
    problems: tuple[str, ...] = ()


def secrets_of(gateway: VLLMGateway, servers: Iterable[Object]) -> tuple[str, ...]:
    """Return the Secrets that a gateway reads: those of its API keys, and of the keys of its servers."""
    own = {key_secret(server)[0] for server in servers if is_served(gateway.spec, server)} - {""}
    remote = {one.api_key_secret_ref.name for one in gateway.spec.servers.references if one.api_key_secret_ref}
    return tuple(sorted({*secret_names(gateway.spec.auth), *own, *remote}))


def observe(
    gateway: VLLMGateway,
    servers: Iterable[Object],
    slices: Iterable[Object],
    secrets: Mapping[str, SecretData | None],
    remote: Iterable[GatewayServer] = (),
) -> Observation:
    """Return the snapshot of a gateway.

    Args:
        gateway: the gateway.
        servers: the VLLMServers of its namespace.
        slices: the EndpointSlices of its namespace.
        secrets: the Secrets of `secrets_of` by name; None for one that is missing.
        remote: the servers of other namespaces.
    """
    by_service: dict[str, list[Object]] = {}
    for one in slices:
        by_service.setdefault(get_str(one, "metadata", "labels", SERVICE_LABEL), []).append(one)
    chosen = sorted(
        (server for server in servers if is_served(gateway.spec, server)),
        key=lambda server: get_str(server, "metadata", "name"),
    )
    problems: list[str] = []
    states = []
    for server in chosen:
        name = get_str(server, "metadata", "name")
        api_key, problem = _api_key(server, secrets)
        problems += [f"the server {name}: {problem}"] if problem else []
        states.append(_state(server, by_service.get(child_name(name), []), api_key))
    names = {state.name for state in states}
    missing = [name for name in gateway.spec.servers.names if name not in names]
    problems += [f"spec.servers.names: there is no server {name} that the selector matches" for name in missing]
    keys = read_keys(gateway.spec.auth, secrets)
    snapshot = GatewaySnapshot(gateway.name, gateway.created, gateway.spec, (*states, *remote), keys.keys)
    return Observation(snapshot, keys, tuple(problems))


def is_served(spec: GatewaySpec, server: Object) -> bool:
    """Return whether a VLLMServer is one of those that a gateway serves."""
    if get(server, "metadata", "deletionTimestamp") is not None:
        return False
    chosen: Servers = spec.servers
    if chosen.names and get_str(server, "metadata", "name") not in chosen.names:
        return False
    if chosen.selector is None:
        return True
    labels = get_map(server, "metadata", "labels")
    equal = all(labels.get(key) == value for key, value in chosen.selector.match_labels.items())
    return equal and all(_matches(requirement, labels) for requirement in chosen.selector.match_expressions)


def _matches(requirement: SelectorRequirement, labels: Object) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
    return value is None


def key_secret(server: Object) -> tuple[str, str]:
    """Return Secret and key of vLLM's own API key; empty without one."""
    reference = get_map(server, "spec", "security", "apiKeySecretRef")
    return get_str(reference, "name"), get_str(reference, "key") or "token"


def _api_key(server: Object, secrets: Mapping[str, SecretData | None]) -> tuple[str, str]:
    """Return vLLM's own API key, and what is wrong with it; both are empty without one."""
    secret, entry = key_secret(server)
    if not secret:
        return "", ""
    api_key = (secrets.get(secret) or {}).get(entry, "").strip()
    return api_key, "" if api_key else f"the key {entry} of its Secret {secret} is missing: add it"


def out_of_use(server: Object) -> frozenset[str]:
    """Return the pods of a server that get no requests, whatever Kubernetes reports."""
    return frozenset(
        get_str(replica, "pod")
        for replica in get_list(server, "status", "replicaStatuses")
        if get_str(replica, "phase") in OUT_OF_USE
    )


def _state(server: Object, slices: Iterable[Object], api_key: str) -> GatewayServer:
    return GatewayServer(
        name=get_str(server, "metadata", "name"),
        served_names=served_names(server),
        endpoints=ready_endpoints(slices, out_of_use(server)),
        api_key=api_key,
        labels=tuple(sorted((str(key), str(value)) for key, value in get_map(server, "metadata", "labels").items())),
        sleeps=get(server, "spec", "autoscaling", "minReplicas") == 0,
    )


def served_names(server: Object) -> tuple[str, ...]:
    """Return the names that the replicas list, those of the spec first; the names of the spec before they list any."""
    listed = get(server, "status", "servedModels")
    reported = tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()
    try:
        parsed = parse_server(server)
        asked = engine_values(parsed.spec).served_names or resolve_model(parsed.spec.model).served_names
    except InvalidSpecError:
        asked = ()
    if not reported:
        return tuple(asked)
    return (*(name for name in asked if name in reported), *(name for name in reported if name not in asked))


def ready_endpoints(slices: Iterable[Object], out: Iterable[str] = ()) -> tuple[ReplicaEndpoint, ...]:
    """Return the replicas that take requests: ready, not ending, and not named in `out`.

    Of a Service with two families of addresses, those of IPv4 are returned.
    """
    excluded = frozenset(out)
    families: dict[str, set[ReplicaEndpoint]] = {"IPv4": set(), "IPv6": set()}
    for one in slices:
        family = families.get(get_str(one, "addressType"))
        ports = [get_int(port, "port") for port in get_list(one, "ports") if get_str(port, "name") == "http"]
        if family is None or not ports:
            continue
        for endpoint in get_list(one, "endpoints"):
            if get_str(endpoint, "targetRef", "name") not in excluded:
                family |= {ReplicaEndpoint(address, ports[0]) for address in _addresses(endpoint)[:1]}
    return tuple(sorted(families["IPv4"] or families["IPv6"])[:MAX_ENDPOINTS])


def _addresses(endpoint: Object) -> list[str]:
    """Return the addresses of an endpoint; none while it takes no requests."""
    ready = get(endpoint, "conditions", "ready") is not False
    found = get(endpoint, "addresses")
    if not ready or get(endpoint, "conditions", "terminating") is True or not isinstance(found, list):
        return []
    return [str(address) for address in found]
