from __future__ import annotations

from vllm_operator.gateway.envoy.jwt import jwks_cluster


def test_an_issuer_with_https_is_verified() -> None:
    cluster = jwks_cluster("https://login.example.com/keys")
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "login.example.com", "port_value": 443}
    context = cluster["transport_socket"]["typed_config"]
    assert context["sni"] == "login.example.com"
    names = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert names == [{"san_type": "DNS", "matcher": {"exact": "login.example.com"}}]
    assert "transport_socket" not in jwks_cluster("http://issuer.auth.svc:8080/keys")
