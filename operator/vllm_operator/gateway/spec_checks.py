"""Refuse what the schema of a VLLMGateway takes, and Envoy or the gateway's own program does not. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.envoy.names import KEY_HEADER, OWN_HEADERS
from vllm_operator.gateway.public_keys import check_public_keys

REMOVED_HEADERS = frozenset({*OWN_HEADERS, "authorization", "x-api-key"} - {KEY_HEADER})
"""Headers that are gone, or hold nothing of the client, when a server is chosen. The id of the key is there by then."""


def check_spec(spec: GatewaySpec) -> None:
    """Refuse key sets, ports and headers that cannot work.

    Raises:
        InvalidSpecError: names the first field that is wrong.
    """
    check_public_keys(spec.auth)
    for field, url in _urls(spec):
        _check_port(field, url)
    for field, name in _headers(spec):
        if name in REMOVED_HEADERS:
            raise InvalidSpecError(field, f"the gateway removes the header {name} of clients: use another one")
    for model in spec.models:
        for server in model.servers:
            if server.header and any(ord(sign) < 32 or ord(sign) == 127 for sign in server.header.value):
                field = f"spec.models[{model.name}].servers[{server.name}].header.value"
                raise InvalidSpecError(field, "no header of a request has control characters: remove them")


def _urls(spec: GatewaySpec) -> Iterator[tuple[str, str]]:
    if spec.tracing:
        yield "spec.tracing.endpoint", spec.tracing.endpoint
    if spec.auth and spec.auth.jwt and spec.auth.jwt.jwks_uri:
        yield "spec.auth.jwt.jwksUri", spec.auth.jwt.jwks_uri


def _check_port(field: str, url: str) -> None:
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise InvalidSpecError(field, f"{url} has a port that is not among 1 to 65535: correct it")


def _headers(spec: GatewaySpec) -> Iterator[tuple[str, str]]:
    yield "spec.sessionHeader", spec.session_header
    for model in spec.models:
        for server in model.servers:
            if server.header:
                yield f"spec.models[{model.name}].servers[{server.name}].header.name", server.header.name
