"""The ConfigMap of the API server, its client certificate, and the users that it names."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.metrics_api.front_proxy import FrontProxyError, is_front_proxy, read_front_proxy, read_user

CONFIG: dict[str, Any] = {
    "data": {
        "requestheader-client-ca-file": "PEM",
        "requestheader-allowed-names": '["front-proxy-client"]',
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }
}
CERTIFICATE = {"subject": ((("organizationName", "k8s"),), (("commonName", "front-proxy-client"),))}


def test_config_is_read() -> None:
    proxy = read_front_proxy(CONFIG)

    assert (proxy.ca, proxy.allowed_names) == ("PEM", ("front-proxy-client",))


@pytest.mark.parametrize("config", [None, {}, {"data": {"client-ca-file": "x"}}])
def test_cluster_without_a_front_proxy_is_named(config: Any) -> None:
    with pytest.raises(FrontProxyError, match="requestheader-client-ca-file"):
        read_front_proxy(config)


def test_broken_list_is_named() -> None:
    with pytest.raises(FrontProxyError, match="requestheader-allowed-names"):
        read_front_proxy({"data": {**CONFIG["data"], "requestheader-allowed-names": "[x"}})


def test_only_the_named_certificate_is_the_front_proxys() -> None:
    proxy = read_front_proxy(CONFIG)

    assert is_front_proxy(CERTIFICATE, proxy)
    assert not is_front_proxy({"subject": ((("commonName", "kubelet"),),)}, proxy)
    assert not is_front_proxy(None, proxy)
    assert not is_front_proxy({}, proxy)


def test_any_name_counts_without_a_list() -> None:
    proxy = read_front_proxy({"data": {**CONFIG["data"], "requestheader-allowed-names": "[]"}})

    assert is_front_proxy({"subject": ((("commonName", "kubelet"),),)}, proxy)


def test_user_groups_and_properties_are_read() -> None:
    headers = [
        ("x-remote-user", "joe"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Extra-Example.com%2fscope", "s1"),
    ]

    user = read_user(headers, read_front_proxy(CONFIG))

    assert user is not None
    assert (user.name, user.groups) == ("joe", ("a", "b"))
    assert dict(user.extra) == {"example.com/scope": ("s1",)}
    assert hash(user.identity)


def test_request_without_a_name_has_no_user() -> None:
    assert read_user([("X-Remote-Group", "system:masters")], read_front_proxy(CONFIG)) is None
