"""Finds a server by its VLLMServer: address, API key, and why it is not ready."""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from vllm_operator.client.cluster_api import ClusterApi, Forbidden, NotFound, connect
from vllm_operator.client.config import ClientConfig
from vllm_operator.client.errors import DiscoveryFailed, ModelNotReady
from vllm_operator.client.port_forward import PortForwarder

GROUP = "/apis/vllm-operator.dev/v1alpha1"
PLURAL = "vllmservers"
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""A DNS subdomain, as Kubernetes names objects (RFC 1123)."""
LISTED = "500"
"""Most servers that are read to find the nearest name."""


class MissingRight(DiscoveryFailed):
    """The VLLMServer may not be read."""


@dataclass(frozen=True)
class FoundServer:
    """A server that can be called now.

    Attributes:
        config: the configuration with its address and its API key.
        close: ends the port-forward, if there is one.
    """

    config: ClientConfig
    close: Callable[[], None] = field(default=lambda: None)


def find_server(
    reference: str,
    config: ClientConfig | None = None,
    *,
    kubeconfig: str | Path | None = None,
    context: str | None = None,
) -> FoundServer:
    """Return how to call a server: in its cluster by its endpoint, from outside by a port-forward.

    Args:
        reference: `NAMESPACE/NAME`, or the name in the current namespace.
        config: other settings. Its own API key comes before that of the server.
        kubeconfig: file in place of KUBECONFIG, and of the cluster of this pod.
        context: context in place of the current one.

    Raises:
        DiscoveryFailed: there is no such server, or it cannot be read.
        ModelNotReady: no replica serves.
    """
    api = connect(kubeconfig, context)
    namespace, name = parsed_reference(reference, api.namespace)
    try:
        server = read_server(api, namespace, name)
    except MissingRight:
        if not api.inside:
            raise
        # A pod needs no right to use a Service.
        return FoundServer(_at(config or ClientConfig(), f"http://{name}.{namespace}.svc"))
    endpoint = ready_endpoint(server, namespace, name)
    config = with_api_key(api, server, namespace, config or ClientConfig())
    if api.inside:
        return FoundServer(_at(config, endpoint))
    forwarder = PortForwarder(api, namespace, name)
    return FoundServer(_at(config, forwarder.start()), forwarder.close)


def _at(config: ClientConfig, url: str) -> ClientConfig:
    values = {name: getattr(config, name) for name in type(config).model_fields}
    return ClientConfig(**{**values, "base_url": url})


def parsed_reference(reference: str, default_namespace: str) -> tuple[str, str]:
    """Return namespace and name.

    Raises:
        DiscoveryFailed: it is no name.
    """
    namespace, slash, name = reference.rpartition("/")
    namespace = namespace if slash else default_namespace
    if not NAME.fullmatch(name) or not NAME.fullmatch(namespace):
        raise DiscoveryFailed(f"{reference[:200]!r} names no VLLMServer: write NAMESPACE/NAME, such as 'llm/mistral'")
    return namespace, name


def read_server(api: ClusterApi, namespace: str, name: str) -> Mapping[str, Any]:
    """Return a VLLMServer.

    Raises:
        MissingRight: it may not be read.
        DiscoveryFailed: it does not exist or cannot be read.
    """
    folder = f"{GROUP}/namespaces/{namespace}/{PLURAL}"
    try:
        return api.get(f"{folder}/{name}")
    except NotFound as error:
        if not error.is_object:
            raise DiscoveryFailed(
                f"the cluster at {api.configuration.host} has no kind VLLMServer: install vllm-operator there, or "
                "choose another context"
            ) from None
        raise DiscoveryFailed(f"VLLMServer {namespace}/{name} does not exist{_nearest(api, namespace, name)}") from None
    except Forbidden as error:
        raise MissingRight(
            f"no right to read VLLMServer {namespace}/{name}: {error}; check with: "
            f"kubectl auth can-i get {PLURAL} -n {namespace}"
        ) from None


def _nearest(api: ClusterApi, namespace: str, name: str) -> str:
    """Return a hint with the servers of similar names, as far as they may be read."""
    for path in (f"{GROUP}/{PLURAL}", f"{GROUP}/namespaces/{namespace}/{PLURAL}"):
        try:
            items = api.get(path, {"limit": LISTED}).get("items", [])
        except (NotFound, Forbidden, DiscoveryFailed):
            continue
        found = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in items]
        named = [full for full in found if full.rpartition("/")[2] == name]
        near = named or difflib.get_close_matches(f"{namespace}/{name}", found, n=3)
        if near:
            return f": did you mean {' or '.join(near[:3])}?"
        return f": there are {', '.join(found[:5])}" if found else ": there is no VLLMServer at all"
    return "; the names of others cannot be read"


def ready_endpoint(server: Mapping[str, Any], namespace: str, name: str) -> str:
    """Return the endpoint of a server of which a replica serves.

    Raises:
        ModelNotReady: none does; the message has the cause.
    """
    status = server.get("status") or {}
    endpoint = status.get("endpoint")
    if isinstance(endpoint, str) and endpoint and _count(status.get("healthyReplicas")) > 0:
        return endpoint
    if not status:
        raise ModelNotReady(f"VLLMServer {namespace}/{name} has no status yet: is the operator running?")
    cause = str(status.get("message") or "no cause is reported")[:1000]
    raise ModelNotReady(
        f"VLLMServer {namespace}/{name} is not ready, its phase is {str(status.get('phase', 'unknown'))[:60]}: {cause}"
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def with_api_key(api: ClusterApi, server: Mapping[str, Any], namespace: str, config: ClientConfig) -> ClientConfig:
    """Return a configuration with the API key from the Secret that a server names, unless it has a key.

    Raises:
        DiscoveryFailed: the Secret cannot be read.
    """
    reference = ((server.get("spec") or {}).get("security") or {}).get("apiKeySecretRef")
    if config.api_key is not None or config.api_key_file is not None or not isinstance(reference, dict):
        return config
    secret, key = str(reference.get("name", "")), str(reference.get("key", "token"))
    named = f"Secret {namespace}/{secret}, which spec.security.apiKeySecretRef names,"
    try:
        data = api.get(f"/api/v1/namespaces/{namespace}/secrets/{secret}").get("data") or {}
    except NotFound:
        raise DiscoveryFailed(f"{named} does not exist: create it, or pass api_key") from None
    except Forbidden as error:
        raise DiscoveryFailed(f"no right to read {named} {error}; pass api_key, or ask for that right") from None
    try:
        value = base64.b64decode(data[key], validate=True).decode()
    except (KeyError, TypeError, binascii.Error, UnicodeDecodeError):
        raise DiscoveryFailed(f"{named} has no text at the key {key!r}: add it, or pass api_key") from None
    return config.model_copy(update={"api_key": SecretStr(value.strip())})
