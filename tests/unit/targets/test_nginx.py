from __future__ import annotations

import re

import pytest

from vllm_operator.errors import TemplateError
from vllm_operator.targets.nginx import DOCKER_RESOLVER, Balancer, nginx_configuration


def test_requests_go_to_the_replica_with_the_fewest_connections() -> None:
    text = nginx_configuration("mistral", Balancer(["a:8000", "b:8000"]))
    assert "least_conn;" in text
    assert re.findall(r"server (\S+) max_fails", text) == ["a:8000", "b:8000"]
    assert "proxy_next_upstream_tries 2;" in text


def test_one_request_is_sent_to_three_replicas_at_most() -> None:
    text = nginx_configuration("m", Balancer([f"r{index}:8000" for index in range(5)]))
    assert "proxy_next_upstream_tries 3;" in text


def test_names_are_resolved_again_and_addresses_are_not() -> None:
    names = nginx_configuration("m", Balancer(["a:8000"], resolver=DOCKER_RESOLVER))
    addresses = nginx_configuration("m", Balancer(["a:8000"]))
    assert "fail_timeout=10s resolve;" in names
    assert "resolve" not in addresses
    # Nothing else differs, so that a test with addresses is a test of both.
    lines = [line.replace(" resolve;", ";") for line in names.splitlines()]
    extra = [line for line in lines if "resolver" in line or "may change when it restarts" in line]
    assert [line for line in lines if line not in extra] == addresses.splitlines()


def test_only_paths_behind_the_api_key_are_open() -> None:
    text = nginx_configuration("m", Balancer(["a:8000"]))
    assert re.findall(r"location (.*?) \{", text) == ["/v1/", "/v2/", "/inference/", "= /health", "/"]


def test_an_address_cannot_become_syntax() -> None:
    with pytest.raises(TemplateError):
        nginx_configuration("m", Balancer(["a:8000; } server {"]))
