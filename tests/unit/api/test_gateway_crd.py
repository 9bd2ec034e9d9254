from __future__ import annotations

import yaml

from tests.helpers.paths import REPOSITORY
from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_crd import gateway_crd


def test_the_generated_file_is_current() -> None:
    assert yaml.safe_load((REPOSITORY / "crds" / "vllmgateway.yaml").read_text()) == gateway_crd()


def test_an_empty_spec_is_enough() -> None:
    schema = gateway_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert "required" not in schema
    assert "required" not in schema["properties"]["spec"]
    spec = GatewaySpec.model_validate({})
    assert (spec.replicas, spec.routing, spec.holding.timeout_seconds) == (2, "PrefixAware", 600)
