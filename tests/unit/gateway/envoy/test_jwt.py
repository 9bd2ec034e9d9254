from __future__ import annotations

import json

import pytest

from vllm_operator.api.gateway_access import Auth
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.envoy.jwt import check_jwks, jwks_cluster


def auth(jwks: str) -> Auth:
    return Auth.model_validate({"jwt": {"issuer": "https://x", "audiences": ["a"], "jwks": jwks}})


@pytest.mark.parametrize(
    "jwks",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"keys": []}',
        '{"keys": [5]}',
        '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        '{"keys": {"kty": "RSA"}}',
        "[" * 60_000,
    ],
)
def test_what_is_no_set_of_public_keys_is_refused(jwks: str) -> None:
    with pytest.raises(InvalidSpecError) as error:
        check_jwks(auth(jwks))
    assert error.value.field == "spec.auth.jwt.jwks"


def test_a_set_of_public_keys_is_accepted() -> None:
    check_jwks(auth(json.dumps({"keys": [{"kty": "RSA", "n": "x", "e": "AQAB"}, {"kty": "EC"}]})))
    check_jwks(None)


def test_an_issuer_with_https_is_verified() -> None:
    cluster = jwks_cluster("https://login.example.com/keys")
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "login.example.com", "port_value": 443}
    context = cluster["transport_socket"]["typed_config"]
    assert context["sni"] == "login.example.com"
    names = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert names == [{"san_type": "DNS", "matcher": {"exact": "login.example.com"}}]
    assert "transport_socket" not in jwks_cluster("http://issuer.auth.svc:8080/keys")
