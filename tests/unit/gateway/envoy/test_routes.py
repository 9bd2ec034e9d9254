from __future__ import annotations

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.envoy.routes import routes
from vllm_operator.gateway.models import resolve_models
from vllm_operator.gateway.snapshot import GatewaySnapshot


def test_pages_may_send_the_headers_that_choose_a_replica_or_a_server() -> None:
    canary = {"name": "s", "header": {"name": "x-version", "value": "v2"}}
    spec = GatewaySpec.model_validate(
        {
            "cors": {"allowOrigins": ["https://chat.example.com"]},
            "sessionHeader": "x-my-session",
            "models": [{"name": "m", "servers": [canary]}],
        }
    )
    built = routes(GatewaySnapshot("chat", 0, spec, (), ()), resolve_models(spec, ()))
    [host] = built["virtual_hosts"]
    allowed = host["typed_per_filter_config"]["envoy.filters.http.cors"]["allow_headers"].split(", ")
    assert {"x-my-session", "x-version", "authorization", "content-type", "x-stainless-os"} <= set(allowed)
    assert len(allowed) == len(set(allowed))
