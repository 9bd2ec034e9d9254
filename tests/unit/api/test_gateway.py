from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.api.gateway import GatewaySpec


@pytest.mark.parametrize(
    ("spec", "port"),
    [
        ({}, 80),
        ({"tls": {"secretName": "chat-tls"}}, 443),
        ({"service": {"port": 8000}}, 8000),
        ({"tls": {"secretName": "chat-tls"}, "service": {"port": 80}}, 80),
    ],
)
def test_the_port_follows_from_the_certificate_unless_the_spec_names_one(spec: dict[str, Any], port: int) -> None:
    assert GatewaySpec.model_validate(spec).service_port == port
