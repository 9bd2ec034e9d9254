from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.spec_checks import check_spec


def with_header(name: str, value: str = "v2") -> dict[str, Any]:
    servers = [{"name": "s"}, {"name": "t", "weight": 0, "header": {"name": name, "value": value}}]
    return {"models": [{"name": "m", "servers": servers}]}


def with_jwt(**fields: str) -> dict[str, Any]:
    return {"auth": {"jwt": {"issuer": "https://i", "audiences": ["a"], **fields}}}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"tracing": {"endpoint": "http://collector:99999"}}, "spec.tracing.endpoint"),
        ({"tracing": {"endpoint": "http://collector:0"}}, "spec.tracing.endpoint"),
        (with_jwt(jwksUri="https://i:70000/keys"), "spec.auth.jwt.jwksUri"),
        (with_jwt(jwks="{}"), "spec.auth.jwt.jwks"),
        ({"sessionHeader": "authorization"}, "spec.sessionHeader"),
        ({"sessionHeader": "x-vllm-gateway-cluster"}, "spec.sessionHeader"),
        (with_header("x-api-key"), "spec.models[m].servers[t].header.name"),
        (with_header("x-version", "a\r\nb"), "spec.models[m].servers[t].header.value"),
    ],
)
def test_what_cannot_work_is_refused_by_its_field(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        check_spec(GatewaySpec.model_validate(spec))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"tracing": {"endpoint": "http://collector:65535"}},
        {"tracing": {"endpoint": "http://collector"}},
        with_jwt(jwksUri="https://i/keys"),
        with_header("x-version"),
        with_header("x-vllm-gateway-key", "team-a"),
    ],
)
def test_what_works_is_taken(spec: dict[str, Any]) -> None:
    check_spec(GatewaySpec.model_validate(spec))
