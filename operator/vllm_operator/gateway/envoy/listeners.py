"""The listeners: one for clients, and one for probes and Prometheus."""

from __future__ import annotations

from typing import Any

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.envoy.jwt import jwt_filter
from vllm_operator.gateway.envoy.names import (
    ADMIN_CLUSTER,
    KEY_HEADER,
    LIMITS_CLUSTER,
    METADATA,
    MODEL_HEADER,
    OWN_HEADERS,
    REFUSED_HEADER,
    RESUME_ROUTES,
    TRACING_CLUSTER,
    TYPE,
    PodLayout,
    config_source,
    extension,
)

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HEADERS_SECONDS = 10
"""Seconds that a client may take for the headers of a request."""
BODY_SECONDS = 120
"""Seconds that a client may take for a whole request."""
MAX_HEADERS_KIB = 60
MAX_HEADERS = 100
RATE_LIMIT_SECONDS = 2
"""Seconds that Envoy waits for the agent. Without an answer the request goes on uncounted."""
BUFFER_SLACK = 1_048_576

_ERRORS = {
    408: ("RequestTimeout", "the request did not arrive in time: send it faster"),
    413: ("BadRequestError", "the body is longer than the gateway allows (spec.maxBodyBytes): shorten it"),
    431: ("BadRequestError", "the headers are longer than the gateway allows: send fewer"),
    500: ("InternalServerError", "the gateway could not judge the request"),
    502: ("BadGateway", "the replica ended the connection"),
    503: ("ServiceUnavailableError", "no replica answers: try again"),
    504: ("GatewayTimeout", "the replica did not answer in time"),
}
"""Answers that Envoy makes by itself, in the form of the OpenAI API."""

_LOG = {
    "time": "%START_TIME%",
    "key": f"%REQ({KEY_HEADER.upper()})%",
    "model": f"%REQ({MODEL_HEADER.upper()})%",
    "server": "%UPSTREAM_CLUSTER_RAW%",
    "replica": "%UPSTREAM_HOST%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "promptTokens": f"%DYNAMIC_METADATA({METADATA}:prompt_tokens)%",
    "completionTokens": f"%DYNAMIC_METADATA({METADATA}:completion_tokens)%",
    "bytesReceived": "%BYTES_RECEIVED%",
    "bytesSent": "%BYTES_SENT%",
    "milliseconds": "%DURATION%",
    "firstByteMilliseconds": "%RESPONSE_DURATION%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "requestId": "%REQ(X-REQUEST-ID)%",
}


def listeners(layout: PodLayout, spec: GatewaySpec) -> list[dict[str, Any]]:
    """Return the listeners of a gateway."""
    chain: dict[str, Any] = {
        "filters": [extension("envoy.filters.network.http_connection_manager", MANAGER, **_manager(layout, spec))]
    }
    if spec.tls:
        chain["transport_socket"] = _tls(layout)
    client = _listener("gateway", layout, layout.port, chain)
    client["per_connection_buffer_limit_bytes"] = spec.max_body_bytes + BUFFER_SLACK
    resume = _resume_listener(layout)
    resume["per_connection_buffer_limit_bytes"] = spec.max_body_bytes + BUFFER_SLACK
    return [client, _health_listener(layout), *([resume] if spec.holding.timeout_seconds else [])]


def _listener(name: str, layout: PodLayout, port: int, chain: dict[str, Any]) -> dict[str, Any]:
    address: dict[str, Any] = {"address": layout.address, "port_value": port}
    if layout.address == "::":
        address["ipv4_compat"] = True
    return {
        "@type": TYPE + "envoy.config.listener.v3.Listener",
        "name": name,
        "address": {"socket_address": address},
        "filter_chains": [chain],
    }


def _manager(layout: PodLayout, spec: GatewaySpec) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "stat_prefix": "gateway",
        "codec_type": "AUTO",
        "rds": {"route_config_name": "gateway", "config_source": config_source(layout, "rds", "rds.json")},
        "http_filters": _filters(spec),
        "early_header_mutation_extensions": [_without_own_headers()],
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "strip_any_host_port": False,
        "server_name": "vllm-gateway",
        "request_headers_timeout": f"{HEADERS_SECONDS}s",
        "request_timeout": f"{BODY_SECONDS}s",
        "stream_idle_timeout": "0s",
        "max_request_headers_kb": MAX_HEADERS_KIB,
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "max_headers_count": MAX_HEADERS,
            # Some programs behind a gateway read x_name as x-name.
            "headers_with_underscores_action": "DROP_HEADER",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 1_048_576,
            "initial_connection_window_size": 8_388_608,
        },
        "local_reply_config": _local_replies(),
    }
    if spec.audit:
        manager["access_log"] = [_access_log(spec.audit.path)]
    if spec.tracing:
        manager["tracing"] = _tracing(spec.tracing.sampling_percent)
    return manager


def _filters(spec: GatewaySpec) -> list[dict[str, Any]]:
    http = "envoy.filters.http."
    source = "function envoy_on_request(h) end"
    filters = [
        extension(
            http + "lua",
            "envoy.extensions.filters.http.lua.v3.Lua",
            default_source_code={"inline_string": source},
            clear_route_cache=True,
        ),
        extension(
            http + "ratelimit",
            "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            domain="vllm-gateway",
            timeout=f"{RATE_LIMIT_SECONDS}s",
            failure_mode_deny=False,
            disable_x_envoy_ratelimited_header=True,
            rate_limit_service={
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": LIMITS_CLUSTER}},
            },
        ),
        extension(
            http + "router",
            "envoy.extensions.filters.http.router.v3.Router",
            # Clients cannot set timeouts and retries by headers, and learn nothing about the inside.
            suppress_envoy_headers=True,
        ),
    ]
    if spec.auth and spec.auth.jwt:
        filters.insert(0, jwt_filter(spec.auth.jwt))
    if spec.cors:
        filters.insert(0, extension(http + "cors", "envoy.extensions.filters.http.cors.v3.Cors"))
    return filters


def _without_own_headers() -> dict[str, Any]:
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": name} for name in OWN_HEADERS],
    )


def _local_replies() -> dict[str, Any]:
    return {"mappers": [_mapper(status, *error) for status, error in _ERRORS.items()]}


def _mapper(status: int, kind: str, message: str) -> dict[str, Any]:
    error = {"message": message, "type": kind, "param": None, "code": status}
    comparison = {"op": "EQ", "value": {"default_value": status, "runtime_key": f"gateway.status_{status}"}}
    # A refusal of the Lua filter has its own words.
    own = {"name": REFUSED_HEADER, "present_match": True, "invert_match": True}
    filters = [{"status_code_filter": {"comparison": comparison}}, {"header_filter": {"header": own}}]
    return {
        "filter": {"and_filter": {"filters": filters}},
        "body_format_override": {"json_format": {"error": error}, "content_type": "application/json"},
    }


def _access_log(path: str) -> dict[str, Any]:
    log = {"log_format": {"json_format": _LOG}}
    if path:
        name = "envoy.access_loggers.file"
        return extension(name, "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=path, **log)
    # The file /dev/stdout cannot be opened without root.
    return extension("envoy.access_loggers.stdout", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog", **log)


def _tracing(percent: int) -> dict[str, Any]:
    service = {
        "http_uri": {"uri": "http://collector/v1/traces", "cluster": TRACING_CLUSTER, "timeout": "1s"},
    }
    return {
        "random_sampling": {"value": percent},
        "provider": extension(
            "envoy.tracers.opentelemetry",
            "envoy.config.trace.v3.OpenTelemetryConfig",
            http_service=service,
            service_name="vllm-gateway",
        ),
    }


def _tls(layout: PodLayout) -> dict[str, Any]:
    secret = {"name": "server", "sds_config": config_source(layout, "sds", "sds.json")}
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [secret],
        },
    )


def tls_secret(layout: PodLayout) -> dict[str, Any]:
    """Return the certificate: Envoy reads it again when the kubelet replaces the files of the Secret."""
    return {
        "@type": TYPE + "envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "server",
        "tls_certificate": {
            "certificate_chain": {"filename": f"{layout.tls}/tls.crt"},
            "private_key": {"filename": f"{layout.tls}/tls.key"},
            "watched_directory": {"path": layout.tls},
        },
    }


def _resume_listener(layout: PodLayout) -> dict[str, Any]:
    """Return the listener for held streams, which the agent sends back; only the containers of the pod reach it."""
    manager = {
        "stat_prefix": "resume",
        "rds": {"route_config_name": RESUME_ROUTES, "config_source": config_source(layout, "rds-resume", "rds.json")},
        "http_filters": [
            extension(
                "envoy.filters.http.router",
                "envoy.extensions.filters.http.router.v3.Router",
                suppress_envoy_headers=True,
            )
        ],
        "stream_idle_timeout": "0s",
        "max_request_headers_kb": MAX_HEADERS_KIB * 2,
        "common_http_protocol_options": {"max_headers_count": MAX_HEADERS * 2},
        "local_reply_config": _local_replies(),
    }
    chain = {"filters": [extension("envoy.filters.network.http_connection_manager", MANAGER, **manager)]}
    return {
        "@type": TYPE + "envoy.config.listener.v3.Listener",
        "name": "resume",
        "address": {"pipe": {"path": layout.resume_socket, "mode": 0o600}},
        "filter_chains": [chain],
    }


def _health_listener(layout: PodLayout) -> dict[str, Any]:
    """Return the listener of /ready, which fails while Envoy drains, and of /metrics."""
    http = "envoy.filters.http."
    probe = {"name": ":path", "string_match": {"exact": "/ready"}}
    manager = {
        "stat_prefix": "health",
        "route_config": {
            "name": "health",
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"path": "/metrics"},
                            "route": {"cluster": ADMIN_CLUSTER, "prefix_rewrite": "/stats/prometheus?usedonly"},
                        },
                        {"match": {"prefix": "/"}, "direct_response": {"status": 404}},
                    ],
                }
            ],
        },
        "http_filters": [
            extension(
                http + "health_check",
                "envoy.extensions.filters.http.health_check.v3.HealthCheck",
                pass_through_mode=False,
                headers=[probe],
            ),
            extension(http + "router", "envoy.extensions.filters.http.router.v3.Router"),
        ],
    }
    chain = {"filters": [extension("envoy.filters.network.http_connection_manager", MANAGER, **manager)]}
    return _listener("health", layout, layout.health_port, chain)
