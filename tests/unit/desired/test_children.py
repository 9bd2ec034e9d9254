"""The children that exist, and the content of the small ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, children, manifests, server
from vllm_operator.desired.children import endpoint_url, plan_children

ALWAYS = {"Service", "Deployment"}
MONITORING = {"PodMonitor", "PrometheusRule"}
ROWS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("the smallest manifest", {}, ALWAYS),
    ("a cache of its own", {"cache": {"size": "1Gi"}}, ALWAYS | {"PersistentVolumeClaim"}),
    ("a cache that exists", {"cache": {"existingClaim": "models"}}, ALWAYS),
    ("several replicas", {"replicas": 2}, ALWAYS | {"PodDisruptionBudget"}),
    ("no replica", {"replicas": 0}, ALWAYS),
    ("autoscaling to one", {"autoscaling": {"maxReplicas": 1}}, ALWAYS | {"HorizontalPodAutoscaler"}),
    (
        "autoscaling",
        {"autoscaling": {"maxReplicas": 2}},
        ALWAYS | {"HorizontalPodAutoscaler", "PodDisruptionBudget"},
    ),
]


@pytest.mark.parametrize(("fields", "kinds"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_children(fields: dict[str, Any], kinds: set[str]) -> None:
    assert set(children(**fields)) == kinds | MONITORING


def test_optional_kinds_that_are_absent_are_left_out() -> None:
    assert set(manifests(server(), frozenset())) == ALWAYS


def test_claim_is_applied_before_the_pods_that_mount_it() -> None:
    order = list(children(cache={"size": "1Gi"}, autoscaling={"maxReplicas": 2}))

    assert order.index("PersistentVolumeClaim") < order.index("Deployment") < order.index("HorizontalPodAutoscaler")


def test_replicas_belong_to_the_autoscaler_while_there_is_one() -> None:
    assert children(replicas=3)["Deployment"]["spec"]["replicas"] == 3
    assert "replicas" not in children(replicas=3, autoscaling={"maxReplicas": 2})["Deployment"]["spec"]


def test_zero_replicas_are_written_out() -> None:
    assert children(replicas=0)["Deployment"]["spec"]["replicas"] == 0


def test_service_selects_the_pods_and_only_them() -> None:
    found = children()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]

    assert found["Service"]["spec"]["selector"].items() <= labels.items()
    assert found["Service"]["spec"]["selector"] == found["Deployment"]["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("collision", ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by"])
def test_labels_of_the_service_do_not_replace_those_of_the_operator(collision: str) -> None:
    labels = children(service={"labels": {collision: "x", "team": "ml"}})["Service"]["metadata"]["labels"]

    assert labels["team"] == "ml"
    assert labels[collision] in {"mistral", "vllm-operator"}


@pytest.mark.parametrize("collision", ["vllm-operator.dev/server", "vllm-operator.dev/applied-hash"])
def test_annotations_of_the_service_do_not_replace_those_of_the_operator(collision: str) -> None:
    plain = children()["Service"]["metadata"]["annotations"]
    annotated = children(service={"annotations": {collision: "x", "team": "ml"}})["Service"]["metadata"]["annotations"]

    assert annotated["team"] == "ml"
    assert annotated["vllm-operator.dev/server"] == plain["vllm-operator.dev/server"] == "mistral"
    assert annotated["vllm-operator.dev/applied-hash"] != "x"


@pytest.mark.parametrize(("port", "url"), [(80, "http://mistral.llm.svc"), (8080, "http://mistral.llm.svc:8080")])
def test_endpoint_has_the_port_unless_it_is_80(port: int, url: str) -> None:
    assert endpoint_url(server(service={"port": port})) == url


NAMES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("the last part of the uri", {}, ("Mistral-7B-Instruct-v0.3",)),
    ("plain names", {"model": {"uri": "org/name"}}, ("name",)),
    ("a path in the image", {"model": {"uri": "file:///models/tiny/"}}, ("tiny",)),
    ("a claim", {"model": {"uri": "pvc://models"}}, ("models",)),
    ("the user's", {"model": {**MODEL, "servedNames": ["a", "b"]}}, ("a", "b")),
    ("plain arguments", {"engine": {"extraArgs": ["--served_model_name", "a", "b"]}}, ("a", "b")),
]


@pytest.mark.parametrize(("fields", "names"), [row[1:] for row in NAMES], ids=[row[0] for row in NAMES])
def test_served_names(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    assert plan_children(server(**fields), frozenset()).served_names == names
