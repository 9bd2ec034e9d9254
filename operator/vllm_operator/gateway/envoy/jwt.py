"""Tokens of an identity provider: the filter of Envoy that verifies them, and the cluster of the public keys.

The filter refuses nothing. It hands the claims of a verified token to the Lua filter, which decides.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from vllm_operator.api.gateway_access import Jwt
from vllm_operator.gateway.envoy.names import TYPE, extension

JWKS_CLUSTER = "jwks"
PROVIDER = "issuer"
CLAIMS = "claims"
"""Key of the claims in the dynamic metadata of the filter."""
FAILURE = "failure"
"""Key of the reason against a token there."""
CACHED_TOKENS = 1000
"""Tokens whose signature each thread of Envoy remembers."""
KEYS_SECONDS = 300
"""Seconds for which the keys of an issuer are used before they are read again."""
CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
"""Certificate authorities in the image of Envoy, as in every image that is based on Debian."""


def jwt_filter(jwt: Jwt) -> dict[str, Any]:
    """Return the filter that verifies tokens."""
    provider: dict[str, Any] = {
        "issuer": jwt.issuer,
        "audiences": jwt.audiences,
        "require_expiration": True,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        # The Lua filter removes the header.
        "forward": True,
        "payload_in_metadata": CLAIMS,
        "failed_status_in_metadata": FAILURE,
        "jwt_cache_config": {"jwt_cache_size": CACHED_TOKENS},
    }
    if jwt.jwks is not None:
        provider["local_jwks"] = {"inline_string": jwt.jwks}
    else:
        provider["remote_jwks"] = {
            "http_uri": {"uri": jwt.jwks_uri, "cluster": JWKS_CLUSTER, "timeout": "5s"},
            "cache_duration": f"{KEYS_SECONDS}s",
            # Read before the first request; without the keys, the other requests are served all the same.
            "async_fetch": {"fast_listener": True},
        }
    either = {"requires_any": {"requirements": [{"provider_name": PROVIDER}, {"allow_missing_or_failed": {}}]}}
    return extension(
        "envoy.filters.http.jwt_authn",
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={PROVIDER: provider},
        rules=[{"match": {"prefix": "/"}, "requires": either}],
    )


def jwks_cluster(url: str) -> dict[str, Any]:
    """Return the cluster of the server that publishes the keys."""
    parts = urlsplit(url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    address = {"socket_address": {"address": host, "port_value": parts.port or (443 if is_tls else 80)}}
    cluster: dict[str, Any] = {
        "@type": TYPE + "envoy.config.cluster.v3.Cluster",
        "name": JWKS_CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": JWKS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if is_tls:
        names = [{"san_type": "DNS", "matcher": {"exact": host}}]
        validation = {"trusted_ca": {"filename": CA_FILE}, "match_typed_subject_alt_names": names}
        cluster["transport_socket"] = extension(
            "envoy.transport_sockets.tls",
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            sni=host,
            common_tls_context={"validation_context": validation},
        )
    return cluster
