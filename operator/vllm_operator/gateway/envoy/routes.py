"""The routes: the Lua filter names the cluster, so that their number does not grow with keys and models."""

from __future__ import annotations

from typing import Any

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.envoy.lua import lua_program
from vllm_operator.gateway.envoy.names import (
    CLUSTER_HEADER,
    HASH_HEADER,
    HOLD_HEADER,
    KEY_HEADER,
    LIMITED_HEADER,
    METADATA,
    MIRROR_HEADER,
    MODEL_HEADER,
    REQUEST_HEADER,
    RESUME_ROUTES,
    TYPE,
)
from vllm_operator.gateway.models import Resolution
from vllm_operator.gateway.snapshot import GatewaySnapshot

RETRIES = 3
"""Attempts after the first one: two broken or ending replicas, and the agent, which hands a held request back by 425. A
request that ends each engine which runs it ends at most four."""
SELECTIONS = 1000
"""Draws of a replica that was not tried yet. A broken one has the fewest requests, so nearly every draw finds it."""
RETRIED_STATUS = (425, 500, 502, 503)
"""Statuses that another replica may cure: 500 of an engine that ends, 425 of the agent when it hands a request back."""
NO_CLUSTER = "none"
"""A cluster that does not exist: the names of all others have a dot."""


def routes(snapshot: GatewaySnapshot, resolution: Resolution) -> dict[str, Any]:
    """Return the route configuration."""
    spec = snapshot.spec
    # The body of a request is kept for a retry up to this size; it must not be smaller than the longest body.
    host: dict[str, Any] = {
        "name": "all",
        "domains": ["*"],
        "routes": [_route(spec, limited=True), _route(spec, limited=False), _refusal()],
        "request_body_buffer_limit": spec.max_body_bytes + 65_536,
        "include_request_attempt_count": True,
        "typed_per_filter_config": {
            "envoy.filters.http.lua": {
                "@type": TYPE + "envoy.extensions.filters.http.lua.v3.LuaPerRoute",
                "source_code": {"inline_string": lua_program(snapshot, resolution)},
            }
        },
    }
    if spec.cors:
        host["typed_per_filter_config"]["envoy.filters.http.cors"] = _cors(spec)
    return {
        "@type": TYPE + "envoy.config.route.v3.RouteConfiguration",
        "name": "gateway",
        "virtual_hosts": [host],
        "response_headers_to_remove": [HOLD_HEADER],
    }


def resume_routes(spec: GatewaySpec) -> dict[str, Any]:
    """Return the routes of held streams that the agent sends back: they were judged and counted before."""
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [_route(spec, limited=False)],
        "request_body_buffer_limit": spec.max_body_bytes + 65_536,
    }
    return {
        "@type": TYPE + "envoy.config.route.v3.RouteConfiguration",
        "name": RESUME_ROUTES,
        "virtual_hosts": [host],
    }


def _route(spec: GatewaySpec, *, limited: bool) -> dict[str, Any]:
    name = LIMITED_HEADER if limited else CLUSTER_HEADER
    route: dict[str, Any] = {
        "match": {"prefix": "/", "headers": [{"name": name, "present_match": True}]},
        "route": {
            "cluster_header": CLUSTER_HEADER,
            "cluster_not_found_response_code": "SERVICE_UNAVAILABLE",
            # A completion may take an hour; one without a byte for so long ends.
            "timeout": "0s",
            "idle_timeout": f"{max(spec.idle_timeout_seconds, spec.holding.timeout_seconds + 30)}s",
            "retry_policy": _retry_policy(spec),
            "hash_policy": [{"header": {"header_name": HASH_HEADER}, "terminal": True}],
            "request_mirror_policies": [{"cluster_header": MIRROR_HEADER}],
        },
        # The header of the mirror is read later.
        "request_headers_to_remove": [LIMITED_HEADER],
    }
    if limited:
        route["typed_per_filter_config"] = {"envoy.filters.http.ratelimit": _rate_limits()}
    return route


def _retry_policy(spec: GatewaySpec) -> dict[str, Any]:
    return {
        "retry_on": "connect-failure,refused-stream,reset-before-request,reset,retriable-status-codes",
        "retriable_status_codes": list(RETRIED_STATUS),
        "num_retries": RETRIES,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": TYPE + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": SELECTIONS,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
    }


def _rate_limits() -> dict[str, Any]:
    """Return the calls to the agent: one before the request, and one with its tokens when it has ended."""
    return {
        "@type": TYPE + "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
        "rate_limits": [
            {"actions": _descriptor("start"), "hits_addend": {"number": 1}},
            {"actions": _descriptor("end"), "hits_addend": {"number": 0}, "apply_on_stream_done": True},
            {
                "actions": _descriptor("tokens"),
                "hits_addend": {"format": f"%DYNAMIC_METADATA({METADATA}:total_tokens)%"},
                "apply_on_stream_done": True,
            },
        ],
    }


def _descriptor(phase: str) -> list[dict[str, Any]]:
    headers = {"key": KEY_HEADER, "model": MODEL_HEADER, "request": REQUEST_HEADER}
    return [
        {"generic_key": {"descriptor_key": "phase", "descriptor_value": phase}},
        *({"request_headers": {"header_name": name, "descriptor_key": key}} for key, name in headers.items()),
    ]


def _refusal() -> dict[str, Any]:
    """Return the route of a request that the Lua filter did not judge: there is no such cluster.

    A direct response would do, but the CORS filter acts only on a route with a cluster.
    """
    return {
        "match": {"prefix": "/"},
        "route": {"cluster": NO_CLUSTER, "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"},
    }


def _cors(spec: GatewaySpec) -> dict[str, Any]:
    origins = spec.cors.allow_origins if spec.cors else []
    return {
        "@type": TYPE + "envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [_origin(origin) for origin in origins],
        "allow_methods": "GET, POST, OPTIONS",
        "allow_headers": f"{', '.join(sorted(_chosen_by(spec)))}, authorization, content-type, x-api-key, "
        "x-requested-with, x-vllm-hold-comments, "
        "openai-organization, openai-project, x-stainless-arch, x-stainless-lang, x-stainless-os, "
        "x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, "
        "x-stainless-timeout, x-stainless-helper-method",
        "expose_headers": "x-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
        "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens",
        "max_age": "600",
    }


def _chosen_by(spec: GatewaySpec) -> set[str]:
    """Return the headers of clients that choose a replica or a server."""
    servers = (server for model in spec.models for server in model.servers)
    return {spec.session_header, *(server.header.name for server in servers if server.header)}


def _origin(origin: str) -> dict[str, Any]:
    if "*" not in origin:
        return {"exact": origin}
    pattern = origin.replace(".", "\\.").replace("*", "[^/]*") if origin != "*" else ".*"
    return {"safe_regex": {"regex": pattern}}
