"""Decide which servers answer for which model. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_models import GatewayModel, ModelServer
from vllm_operator.gateway.snapshot import GatewayServer


@dataclass(frozen=True)
class ModelTarget:
    """One server behind a model.

    Attributes:
        server: name of the VLLMServer.
        cluster: name of its cluster in Envoy.
        weight: its share of the requests.
        model: name to write into the body; empty when the client's name is served.
        api_key: the key of vLLM; empty without one.
        header: name and value of the header that picks this server; empty without one.
    """

    server: str
    cluster: str
    weight: int
    model: str = ""
    api_key: str = ""
    header: tuple[str, str] | None = None


@dataclass(frozen=True)
class ModelRoute:
    """A model with its servers.

    Attributes:
        name: its name for clients.
        routing: LeastRequest, PrefixAware or Session.
        targets: servers with a share of the requests; empty when the model has none.
        versions: servers that a header picks.
        mirror: cluster and percent of the copies; None without any.
        ready: replicas that take its requests.
    """

    name: str
    routing: str
    targets: tuple[ModelTarget, ...]
    versions: tuple[ModelTarget, ...] = ()
    mirror: tuple[str, int] | None = None
    ready: int = 0


@dataclass(frozen=True)
class Resolution:
    """The models of a gateway, and the references that name nothing.

    Attributes:
        models: the models by name.
        problems: one sentence for each reference that is refused.
    """

    models: Mapping[str, ModelRoute]
    problems: tuple[str, ...] = ()


def cluster_name(server: str, routing: str) -> str:
    """Return the name of the cluster of a server for one kind of routing; it is also the name of a folder."""
    return f"{server.replace('/', ':')}.{routing}"


def server_of(cluster: str) -> str:
    """Return the server of a cluster."""
    return cluster.rpartition(".")[0].replace(":", "/")


def resolve_models(spec: GatewaySpec, servers: Sequence[GatewayServer]) -> Resolution:
    """Return the models that clients may name.

    Each served name is a model; servers with the same name are one model, weighted by their ready replicas. Entries of
    `spec.models` come on top. While no server of a model has a ready replica, its first fallback that has one answers.
    """
    by_name = {server.name: server for server in servers}
    problems: list[str] = []
    models = {name: _served(name, spec.routing, servers) for server in servers for name in server.served_names}
    explicit = {entry.name: _explicit(entry, spec.routing, by_name, problems) for entry in spec.models}
    models |= explicit
    without_fallbacks, entries = dict(models), {entry.name: entry for entry in spec.models}
    for entry in spec.models:
        unknown = [name for name in entry.fallbacks if name not in models]
        problems += [f"spec.models: {entry.name}: the fallback {name} is no model of this gateway" for name in unknown]
        chain = _fallbacks(entry, entries, {entry.name})
        models[entry.name] = _with_fallback(explicit[entry.name], chain, without_fallbacks)
    return Resolution(dict(sorted(models.items())), tuple(problems))


def _served(name: str, routing: str, servers: Sequence[GatewayServer]) -> ModelRoute:
    serving = [server for server in servers if name in server.served_names]
    ready = sum(len(server.endpoints) for server in serving)
    # Without any ready replica all of them hold requests, and are started.
    targets = [
        ModelTarget(
            server.name, cluster_name(server.name, routing), len(server.endpoints) if ready else 1, "", server.api_key
        )
        for server in serving
    ]
    return ModelRoute(name, routing, tuple(target for target in targets if target.weight), ready=ready)


def _explicit(
    entry: GatewayModel, default: str, servers: Mapping[str, GatewayServer], problems: list[str]
) -> ModelRoute:
    routing = entry.routing or default
    problems += _refused(entry, servers)
    targets = [_target(entry, part, servers[part.name], routing) for part in entry.servers if part.name in servers]
    mirror = None
    if entry.mirror and entry.mirror.server in servers:
        mirror = (cluster_name(entry.mirror.server, routing), entry.mirror.percent)
    weighted = _ready_only([target for target in targets if target.weight], servers)
    return ModelRoute(
        name=entry.name,
        routing=routing,
        targets=weighted,
        versions=tuple(target for target in targets if target.header),
        mirror=mirror,
        # A server without a weight takes only the requests that name it by header.
        ready=sum(len(servers[target.server].endpoints) for target in targets if target.weight),
    )


def _refused(entry: GatewayModel, servers: Mapping[str, GatewayServer]) -> Iterator[str]:
    """Yield one sentence for each reference of an entry that names nothing."""
    for part in entry.servers:
        server = servers.get(part.name)
        if server is None:
            yield f"spec.models: {entry.name}: the server {part.name} is not among those of the gateway"
        elif part.model and part.model not in server.served_names:
            yield f"spec.models: {entry.name}: the server {part.name} does not serve {part.model}"
    if entry.mirror and entry.mirror.server not in servers:
        yield f"spec.models: {entry.name}: the mirror {entry.mirror.server} is not among the servers of the gateway"


def _ready_only(targets: list[ModelTarget], servers: Mapping[str, GatewayServer]) -> tuple[ModelTarget, ...]:
    """Return the servers with ready replicas; all of them when none has any, so that they hold the requests."""
    ready = [target for target in targets if servers[target.server].endpoints]
    return tuple(ready or targets)


def _target(entry: GatewayModel, part: ModelServer, server: GatewayServer, routing: str) -> ModelTarget:
    first = server.served_names[0] if server.served_names else entry.name
    served = part.model or (entry.name if entry.name in server.served_names else first)
    return ModelTarget(
        server=server.name,
        cluster=cluster_name(server.name, routing),
        weight=part.weight,
        model="" if served == entry.name else served,
        api_key=server.api_key,
        header=(part.header.name, part.header.value) if part.header else None,
    )


def _fallbacks(entry: GatewayModel, entries: Mapping[str, GatewayModel], seen: set[str]) -> Iterator[str]:
    """Yield the fallbacks of a model, each followed by its own, and every name once."""
    for name in entry.fallbacks:
        if name not in seen:
            seen.add(name)
            yield name
            if name in entries:
                yield from _fallbacks(entries[name], entries, seen)


def _with_fallback(model: ModelRoute, names: Iterator[str], models: Mapping[str, ModelRoute]) -> ModelRoute:
    """Return the model, answered by its first fallback with a ready replica while it has none itself."""
    if model.ready:
        return model
    for name in names:
        fallback = models.get(name)
        if fallback and fallback.ready:
            targets = tuple(
                ModelTarget(t.server, t.cluster, t.weight, t.model or name, t.api_key, t.header)
                for t in fallback.targets
            )
            return ModelRoute(model.name, fallback.routing, targets, model.versions, None, fallback.ready)
    return model
