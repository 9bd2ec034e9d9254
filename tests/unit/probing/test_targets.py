"""Probe endpoints, read from pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, container
from vllm_operator.probing.targets import PodEndpoint, pod_endpoint


def pod(ip: str | None = "10.0.0.7", state: str = "running", **fields: Any) -> dict[str, Any]:
    """A pod with the container that a server with these fields renders."""
    return {
        "metadata": {"name": "mistral-1", "uid": "p1"},
        "spec": {"containers": [{"name": "proxy", "args": ["--served-model-name", "no"]}, container(**fields)]},
        "status": {"podIP": ip, "containerStatuses": [{"name": "vllm", "state": {state: {}}}]},
    }


def probe(one: dict[str, Any], default: tuple[str, ...] = ("default",)) -> PodEndpoint:
    found = pod_endpoint(one, default)
    assert found is not None
    return found


def test_running_replica_is_probed_at_its_address() -> None:
    assert probe(pod()) == PodEndpoint(
        "mistral-1", "p1", "http://10.0.0.7:8000", ("Mistral-7B-Instruct-v0.3",), None, False
    )


def test_ipv6_address_is_bracketed() -> None:
    assert probe(pod("fd00::7")).base_url == "http://[fd00::7]:8000"


@pytest.mark.parametrize(("ip", "state"), [(None, "running"), ("", "running"), ("10.0.0.7", "waiting")])
def test_replica_that_cannot_answer_is_not_probed(ip: str | None, state: str) -> None:
    assert pod_endpoint(pod(ip, state), ()) is None


@pytest.mark.parametrize("bare", [{"metadata": {"name": "a"}}, {"metadata": {"name": "a"}, "spec": {}, "status": {}}])
def test_new_pod_is_not_probed(bare: dict[str, Any]) -> None:
    assert pod_endpoint(bare, ()) is None


NAMES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("several names", {"model": {**MODEL, "servedNames": ["a", "b"]}}, ("a", "b")),
    ("a name with a dash", {"model": {**MODEL, "servedNames": ["-a"]}}, ("-a",)),
    ("a name that the kubelet would expand", {"model": {**MODEL, "servedNames": ["$(HOME)", "$$"]}}, ("$(HOME)", "$$")),
    ("plain arguments", {"engine": {"extraArgs": ["--served-model-name", "a", "b"]}}, ("a", "b")),
    (
        "the last of repeated arguments",
        {"engine": {"extraArgs": ["--served-model-name=a", "--served_model_name=b"]}},
        ("b",),
    ),
]


@pytest.mark.parametrize(("fields", "names"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_served_names_are_those_of_the_pod(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    assert probe(pod(**fields)).served_names == names


def test_pod_without_names_gets_the_default_names() -> None:
    one = pod()
    one["spec"]["containers"][1]["args"] = ["--model", "x"]

    assert probe(one).served_names == ("default",)


def test_api_key_is_that_of_the_pod() -> None:
    fields = {"security": {"apiKeySecretRef": {"name": "keys", "key": "old"}}}

    assert probe(pod(**fields)).api_key == ("keys", "old")


def test_named_port_of_the_pod_is_probed() -> None:
    one = pod()
    one["spec"]["containers"][1]["ports"] = [
        {"name": "metrics", "containerPort": 9},
        {"name": "http", "containerPort": 81},
    ]

    assert probe(one).base_url == "http://10.0.0.7:81"
