from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.pod_secrets import pod_secrets


def found(spec: dict[str, Any]) -> dict[str, str]:
    return {reference.name: reference.field for reference in pod_secrets(GatewaySpec.model_validate(spec))}


def test_a_gateway_without_them_has_none() -> None:
    assert found({}) == {}
    assert found({"auth": {"secrets": [{"name": "keys"}]}}) == {}


def test_every_place_of_a_secret_is_found_once() -> None:
    volumes = [
        {"name": "a", "secret": {"secretName": "mounted"}},
        {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
    ]
    containers = [{"name": "agent", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "variable"}}}]}]
    spec = {
        "tls": {"secretName": "certificate"},
        "imagePullSecrets": [{"name": "registry"}, {"name": "certificate"}],
        "podTemplate": {"spec": {"volumes": volumes, "containers": containers}},
    }
    assert found(spec) == {
        "certificate": "spec.tls.secretName",
        "registry": "spec.imagePullSecrets",
        "mounted": "spec.podTemplate.spec.volumes[0].secret.secretName",
        "projected": "spec.podTemplate.spec.volumes[1].projected.sources[0].secret",
        "variable": "spec.podTemplate.spec.containers[0].env[0].valueFrom.secretKeyRef",
    }


def test_an_endless_pod_template_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="parts"):
        found({"podTemplate": {"spec": {"x": [1] * 30_000}}})
