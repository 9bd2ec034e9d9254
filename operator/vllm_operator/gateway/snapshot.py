"""The state of the cluster that the configuration of Envoy is built from."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm_operator.api.gateway import GatewaySpec


@dataclass(frozen=True, order=True)
class ReplicaEndpoint:
    """A replica that takes requests.

    Attributes:
        address: its IP address.
        port: port of vLLM's API server.
    """

    address: str
    port: int


@dataclass(frozen=True)
class GatewayServer:
    """A VLLMServer as the gateway sees it.

    Attributes:
        name: its name.
        served_names: names of the models that it serves, the first one first.
        endpoints: replicas that take requests, sorted.
        api_key: the key that vLLM asks for; empty without one.
        labels: labels of the VLLMServer.
        sleeps: it may have no replica by its own wish (`autoscaling.minReplicas: 0`).
    """

    name: str
    served_names: tuple[str, ...]
    endpoints: tuple[ReplicaEndpoint, ...] = ()
    api_key: str = field(default="", repr=False)
    labels: tuple[tuple[str, str], ...] = ()
    sleeps: bool = False


@dataclass(frozen=True)
class KeyEntry:
    """An API key of a client.

    Attributes:
        id: its name.
        digest: SHA-256 of the key in hexadecimal digits.
        models: models that it may use; empty for all.
        expires: Unix time from which it is refused; None when it does not expire.
    """

    id: str
    digest: str
    models: tuple[str, ...] = ()
    expires: int | None = None


@dataclass(frozen=True)
class GatewaySnapshot:
    """Everything that the configuration of Envoy depends on.

    Attributes:
        name: name of the VLLMGateway.
        created: Unix time of its creation, which lists of models show.
        spec: its spec.
        servers: the servers that it serves, sorted by name.
        keys: the API keys, sorted by id.
    """

    name: str
    created: int
    spec: GatewaySpec
    servers: tuple[GatewayServer, ...] = ()
    keys: tuple[KeyEntry, ...] = ()
