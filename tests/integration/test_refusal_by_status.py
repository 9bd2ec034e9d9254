"""Refusals by the operator: Accepted=False names the field and the remedy, and a serving server keeps serving."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.servers import Servers
from tools.harness.kube import Object, condition


def secret(name: str, **content: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}


def claim(name: str) -> Object:
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


REPEATED = [
    (["--max-model-len", "4096"], {"maxModelLen": 2048}, "spec.engine.maxModelLen"),
    (["--max-model-len=4096"], {"maxModelLen": 2048}, "spec.engine.maxModelLen"),
    (["--max_model_len=4096"], {"maxModelLen": 2048}, "spec.engine.maxModelLen"),
    (["--max_model_len", "4096"], {"maxModelLen": 2048}, "spec.engine.maxModelLen"),
    (["--max-model=4096"], {"maxModelLen": 2048}, "spec.engine.maxModelLen"),
    (["--enable-log-requests", "--max-model-len=4096"], {"maxModelLen": 2048}, "spec.engine.maxModelLen"),
    (["-tp", "2"], {"tensorParallelSize": 2}, "spec.engine.tensorParallelSize"),
    (["-tp=2"], {"tensorParallelSize": 2}, "spec.engine.tensorParallelSize"),
    (["-pp", "2"], {"pipelineParallelSize": 2}, "spec.engine.pipelineParallelSize"),
    (["-dp", "2"], {"dataParallelSize": 2}, "spec.engine.dataParallelSize"),
    (["-q", "awq"], {"quantization": "fp8"}, "spec.engine.quantization"),
    (["--no-enable-prefix-caching"], {"enablePrefixCaching": True}, "spec.engine.enablePrefixCaching"),
    (["--enable-prefix-caching"], {"enablePrefixCaching": False}, "spec.engine.enablePrefixCaching"),
    (["--speculative-config.method=ngram"], {"speculativeConfig": {"a": 1}}, "spec.engine.speculativeConfig"),
    (["--dtype=auto"], {"dtype": "auto"}, "spec.engine.dtype"),
]


@pytest.mark.parametrize(("extra", "engine", "field"), REPEATED, ids=[" ".join(case[0]) for case in REPEATED])
def test_typed_field_repeated_in_extra_args_is_refused(
    shared_servers: Servers, extra: list[str], engine: Object, field: str
) -> None:
    name = f"repeated-{REPEATED.index((extra, engine, field))}"
    server = shared_servers.create(name, {"engine": {**engine, "extraArgs": extra}})
    assert condition(server, "Accepted")["reason"] == "DuplicateArgument"
    shared_servers.refused(name, "spec.engine.extraArgs[", field, "remove one of the two")
    assert server["status"]["phase"] == "Invalid"


SOURCES: list[tuple[str, Object, tuple[str, ...]]] = [
    (
        "revision said twice",
        {"model": {"uri": "a/b", "revision": "main"}, "engine": {"extraArgs": ["--revision=v2"]}},
        ("spec.engine.extraArgs[0]", "spec.model.revision"),
    ),
    (
        "served names said twice",
        {"model": {"uri": "a/b", "servedNames": ["x"]}, "engine": {"extraArgs": ["--served-model-name", "y"]}},
        ("spec.engine.extraArgs[0]", "spec.model.servedNames"),
    ),
    ("the model itself", {"engine": {"extraArgs": ["--model", "x"]}}, ("spec.engine.extraArgs[0]", "spec.model.uri")),
    ("the port", {"engine": {"extraArgs": ["--port=9000"]}}, ("spec.engine.extraArgs[0]", "spec.service.port")),
    (
        "a key in the clear",
        {"engine": {"extraArgs": ["--api-key=s3cret"]}},
        ("spec.engine.extraArgs[0]", "spec.security.apiKeySecretRef"),
    ),
    (
        "flag and value in one item",
        {"engine": {"extraArgs": ["--max-model-len 4096"]}},
        ("spec.engine.extraArgs[0]", "--max-model-len=4096"),
    ),
    (
        "a target at --max-num-seqs=50",
        {"autoscaling": {"maxReplicas": 2}, "engine": {"extraArgs": ["--max-num-seqs=50"]}},
        ("spec.autoscaling.targetRunningRequests", "50"),
    ),
    (
        "a target above --max-num-seqs 8",
        {"autoscaling": {"maxReplicas": 2}, "engine": {"extraArgs": ["--max-num-seqs", "8"]}},
        ("spec.autoscaling.targetRunningRequests", "8"),
    ),
    (
        "a variable with two sources",
        {"engine": {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}},
        ("spec.engine.env[A]", "remove one"),
    ),
    (
        "a number that is none",
        {"engine": {"extraArgs": ["--tensor-parallel-size=two"]}},
        ("spec.engine.extraArgs[0]", "whole number"),
    ),
]


@pytest.mark.parametrize(("name", "spec", "words"), SOURCES, ids=[case[0] for case in SOURCES])
def test_spec_that_cannot_work_is_refused(
    shared_servers: Servers, name: str, spec: Object, words: tuple[str, ...]
) -> None:
    server = f"source-{[case[0] for case in SOURCES].index(name)}"
    shared_servers.create(server, spec)
    shared_servers.refused(server, *words)
    assert shared_servers.find_child("Deployment", server) is None


ANSWERED_WITH_500: list[tuple[str, Object, str]] = [
    ("fraction", {"spec": {"terminationGracePeriodSeconds": 1.5}}, "cannot convert float64 to int64"),
]


@pytest.mark.parametrize(("name", "template", "words"), ANSWERED_WITH_500, ids=[case[0] for case in ANSWERED_WITH_500])
def test_pod_template_that_the_api_server_answers_with_500_is_refused(
    shared_servers: Servers, name: str, template: Object, words: str
) -> None:
    server = shared_servers.create(f"answered-{name}", {"podTemplate": template})
    assert condition(server, "Accepted")["reason"] == "ChildRefused"
    shared_servers.refused(f"answered-{name}", "spec.podTemplate: the API server refuses Deployment", words)


def test_secret_in_an_argument_is_not_repeated_in_the_status(shared_servers: Servers) -> None:
    server = shared_servers.create("quiet", {"engine": {"extraArgs": ["--api-key=s3cret"]}})
    assert "s3cret" not in str(server["status"])


def test_plain_arguments_of_real_configurations_are_accepted(shared_servers: Servers) -> None:
    extra = ["--max-model-len=32768", "--max-num-seqs", "64", "-tp", "2", "--enable-log-requests"]
    shared_servers.create("plain", {"engine": {"extraArgs": extra}, "autoscaling": {"maxReplicas": 2}})
    shared_servers.accepted("plain")
    args = shared_servers.container("plain")["args"]
    start = args.index(extra[0])
    assert args[start : start + len(extra)] == extra
    assert shared_servers.container("plain")["resources"]["limits"]["nvidia.com/gpu"] == "2"


TOKEN = {"model": {"uri": "org/name", "tokenSecretRef": {"name": "later", "key": "token"}}}
API_KEY = {"security": {"apiKeySecretRef": {"name": "later", "key": "token"}}}
ENV = {"engine": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "later", "key": "token"}}}]}}
SECRETS = [
    ("token", TOKEN, "spec.model.tokenSecretRef"),
    ("api-key", API_KEY, "spec.security.apiKeySecretRef"),
    ("variable", ENV, "spec.engine.env[A].valueFrom.secretKeyRef"),
]
CLAIMS: list[tuple[str, Object, str]] = [
    ("cache", {"cache": {"existingClaim": "later"}}, "spec.cache.existingClaim"),
    ("model", {"model": {"uri": "pvc://later/model"}}, "spec.model.uri"),
]


def test_missing_secret_is_named_until_it_appears(servers: Servers) -> None:
    for name, spec, _ in SECRETS:
        servers.create(name, spec)
    for name, _, field in SECRETS:
        servers.refused(name, field, "later", "create")
        assert servers.find_child("Deployment", name) is None
    servers.kube.create(secret("later", wrong="x"), servers.namespace)
    for name, _, field in SECRETS:
        servers.refused(name, field, "later", "key token")
    servers.kube.patch("Secret", "later", servers.namespace, {"stringData": {"token": "t"}})
    for name, _, _ in SECRETS:
        servers.accepted(name, within=20)
        assert servers.find_child("Deployment", name) is not None


def test_missing_claim_is_named_until_it_appears(servers: Servers) -> None:
    for name, spec, _ in CLAIMS:
        servers.create(name, spec)
    for name, _, field in CLAIMS:
        servers.refused(name, field, "later", "PersistentVolumeClaim")
    servers.kube.create(claim("later"), servers.namespace)
    for name, _, _ in CLAIMS:
        servers.accepted(name, within=20)
        assert servers.find_child("Deployment", name) is not None


def test_optional_secret_may_be_missing(servers: Servers) -> None:
    reference = {"name": "later", "key": "token", "optional": True}
    servers.create("free", {"engine": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": reference}}]}})
    servers.accepted("free")


BAD_CHANGES: list[tuple[str, Object]] = [
    ("repeated flag", {"engine": {"maxModelLen": 1024, "extraArgs": ["--max-model-len=2048"]}}),
    ("missing secret", {"security": {"apiKeySecretRef": {"name": "nowhere", "key": "token"}}, "replicas": 3}),
    ("missing claim", {"cache": {"existingClaim": "nowhere", "size": None}, "image": "other:1"}),
    ("unreachable target", {"autoscaling": {"maxReplicas": 2}, "engine": {"extraArgs": ["--max-num-seqs=8"]}}),
]


@pytest.mark.parametrize(("name", "bad"), BAD_CHANGES, ids=[case[0] for case in BAD_CHANGES])
def test_server_that_was_fine_keeps_its_children_while_a_change_is_refused(
    servers: Servers, name: str, bad: Object
) -> None:
    servers.create("kept", {"replicas": 2, "cache": {"size": "1Gi"}})
    before = {kind: body["metadata"]["resourceVersion"] for kind, body in servers.children("kept").items()}
    good = servers.get("kept")["spec"]
    servers.patch("kept", bad)
    servers.refused("kept")
    after = servers.children("kept")
    assert set(after) == set(before)
    assert {kind: body["metadata"]["generation"] for kind, body in after.items() if kind == "Deployment"} == {
        "Deployment": 1
    }
    unchanged = {kind: after[kind]["metadata"]["resourceVersion"] for kind in ("Service", "PodDisruptionBudget")}
    assert unchanged == {kind: before[kind] for kind in unchanged}

    restored: list[dict[str, Any]] = [{"op": "replace", "path": "/spec", "value": good}]
    servers.kube.patch("VLLMServer", "kept", servers.namespace, restored, json_patch=True)
    servers.accepted("kept")


def test_refused_server_still_has_its_drift_repaired(servers: Servers) -> None:
    servers.create("guarded")
    servers.patch("guarded", {"security": {"apiKeySecretRef": {"name": "nowhere", "key": "token"}}})
    servers.refused("guarded")
    assert servers.find_child("Deployment", "guarded") is not None
