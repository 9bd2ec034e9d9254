"""Refusals by the API server: the message names the field and the remedy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.servers import manifest
from tools.harness.kube import KIND, Answer, Kube, Object

Apply = Callable[..., Answer]
Case = tuple[str, Any, tuple[str, ...]]


def with_field(path: str, value: Any) -> Object:
    """A server whose field at `path` below spec has this value."""
    body = copy.deepcopy(manifest("wrong", {}))
    *parents, last = path.split(".")
    place = body["spec"]
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return body


WRONG_TYPES: list[Case] = [
    ("replicas", "two", ("spec.replicas", "integer")),
    ("replicas", 1.5, ("spec.replicas", "integer")),
    ("paused", "yes", ("spec.paused", "boolean")),
    ("image", 5, ("spec.image", "string")),
    ("model", "hf://org/name", ("spec.model", "object")),
    ("model.servedNames", "name", ("spec.model.servedNames", "array")),
    ("engine.maxModelLen", "8192", ("spec.engine.maxModelLen", "integer")),
    ("engine.gpuMemoryUtilization", "0.9", ("spec.engine.gpuMemoryUtilization", "number")),
    ("engine.enforceEager", "true", ("spec.engine.enforceEager", "boolean")),
    ("engine.extraArgs", "--enable-log-requests", ("spec.engine.extraArgs", "array")),
    ("engine.extraArgs", [{"max-model-len": 5}], ("spec.engine.extraArgs[0]",)),
    ("engine.speculativeConfig", "ngram", ("spec.engine.speculativeConfig", "object")),
    ("scheduling.tolerations", {}, ("spec.scheduling.tolerations", "array")),
    ("autoscaling", True, ("spec.autoscaling", "object")),
    ("podTemplate", [], ("spec.podTemplate", "object")),
]

OUT_OF_BOUNDS: list[Case] = [
    ("engine.gpuMemoryUtilization", 0, ("spec.engine.gpuMemoryUtilization", "greater than 0")),
    ("engine.gpuMemoryUtilization", 1.2, ("spec.engine.gpuMemoryUtilization", "less than or equal to 1")),
    ("engine.tensorParallelSize", 0, ("spec.engine.tensorParallelSize", "greater than or equal to 1")),
    ("engine.maxModelLen", -1, ("spec.engine.maxModelLen", "greater than or equal to 1")),
    ("replicas", -1, ("spec.replicas", "greater than or equal to 0")),
    ("service.port", 70000, ("spec.service.port", "less than or equal to 65535")),
    ("service.type", "External", ("spec.service.type", "ClusterIP", "LoadBalancer")),
    ("sharedMemory", "16 gigs", ("spec.sharedMemory",)),
    ("cache", {"size": "ten"}, ("spec.cache.size",)),
    ("health.startupTimeoutSeconds", 1, ("spec.health.startupTimeoutSeconds", "greater than or equal to 30")),
    ("monitoring.alerts.kvCacheUsage", 95, ("spec.monitoring.alerts.kvCacheUsage", "less than or equal to 1")),
    ("autoscaling", {"minReplicas": 1}, ("spec.autoscaling.maxReplicas", "Required")),
    ("model", {}, ("spec.model.uri", "Required")),
    ("image", "vllm openai", ("spec.image",)),
    ("model.servedNames", [], ("spec.model.servedNames", "at least 1 item")),
]

URIS: list[Case] = [
    ("model.uri", "", ("spec.model.uri", "is empty", "hf://")),
    ("model.uri", "   ", ("spec.model.uri", "is empty", "hf://")),
    ("model.uri", "s3://bucket/model", ("spec.model.uri", "not supported yet", "pvc://claim/path")),
    ("model.uri", "gs://bucket/model", ("spec.model.uri", "not supported yet", "pvc://claim/path")),
    ("model.uri", "oci://registry/model:1", ("spec.model.uri", "not supported yet", "pvc://claim/path")),
    ("model.uri", "ftp://host/model", ("spec.model.uri", "unknown scheme", "hf://org/name")),
    ("model.uri", "file://relative/path", ("spec.model.uri", "absolute path", "file:///models")),
    ("model.uri", "pvc://", ("spec.model.uri", "PersistentVolumeClaim", "pvc://models")),
    ("model.uri", "hf://org/name/too/deep", ("spec.model.uri", "hf://org/name")),
    ("model.uri", "pvc://claim/../../etc", ("spec.model.uri", "'..'")),
    ("model.uri", "org/name with space", ("spec.model.uri", "hf://org/name")),
]

RULES: list[Case] = [
    ("rollout", {"maxSurge": 0, "maxUnavailable": 0}, ("spec.rollout.maxUnavailable", "both be 0", "maxSurge: 1")),
    ("rollout", {"maxSurge": "0%", "maxUnavailable": 0}, ("spec.rollout.maxUnavailable", "both be 0")),
    ("rollout", {"maxUnavailable": 0}, ("spec.rollout.maxUnavailable", "both be 0", "maxSurge: 1")),
    (
        "autoscaling",
        {"minReplicas": 5, "maxReplicas": 2},
        ("spec.autoscaling.minReplicas", "must not exceed maxReplicas", "raise maxReplicas"),
    ),
    ("autoscaling", {"minReplicas": -1, "maxReplicas": 2}, ("spec.autoscaling.minReplicas", "0")),
    ("autoscaling", {"maxReplicas": 2, "source": "vpa"}, ("spec.autoscaling.source", "prometheus-adapter")),
    ("autoscaling", {"maxReplicas": 2, "source": "keda"}, ("spec.autoscaling.keda", "serverAddress", "triggers")),
    ("cache", {"size": "1Gi", "existingClaim": "models"}, ("spec.cache", "either size")),
    ("cache", {}, ("spec.cache", "either size")),
    ("cache", {"existingClaim": "models", "accessModes": ["ReadWriteMany"]}, ("spec.cache", "remove")),
    ("engine.enableAutoToolChoice", True, ("spec.engine.toolCallParser", "toolCallParser: mistral")),
]

TOGETHER: list[tuple[str, Object, tuple[str, ...]]] = [
    (
        "a ReadWriteOnce cache with several replicas",
        {"replicas": 2, "cache": {"size": "1Gi", "accessModes": ["ReadWriteOnce"]}},
        ("spec.cache.accessModes", "several replicas", "ReadWriteMany"),
    ),
    (
        "a ReadWriteOnce cache with several possible replicas",
        {"autoscaling": {"maxReplicas": 3}, "cache": {"size": "1Gi", "accessModes": ["ReadWriteOnce"]}},
        ("spec.cache.accessModes", "several replicas", "ReadWriteMany"),
    ),
    (
        "a target at maxNumSeqs",
        {"autoscaling": {"maxReplicas": 2, "targetRunningRequests": 16}, "engine": {"maxNumSeqs": 16}},
        ("spec.autoscaling.targetRunningRequests", "below engine.maxNumSeqs"),
    ),
    (
        "the default target above maxNumSeqs",
        {"autoscaling": {"maxReplicas": 2}, "engine": {"maxNumSeqs": 8}},
        ("spec.autoscaling.targetRunningRequests", "below engine.maxNumSeqs"),
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [*WRONG_TYPES, *OUT_OF_BOUNDS, *URIS, *RULES],
    ids=lambda part: str(part)[:40] if not isinstance(part, tuple) else "",
)
def test_wrong_field_is_named_with_its_remedy(apply: Apply, path: str, value: Any, words: tuple[str, ...]) -> None:
    answer = apply(with_field(path, value))
    assert answer.code != 0, answer.text
    assert [word for word in words if word not in answer.stderr] == [], answer.stderr


@pytest.mark.parametrize(("name", "spec", "words"), TOGETHER, ids=[case[0] for case in TOGETHER])
def test_fields_that_do_not_fit_together_are_refused(
    apply: Apply, name: str, spec: Object, words: tuple[str, ...]
) -> None:
    answer = apply(manifest("wrong", spec))
    assert answer.code != 0, answer.text
    assert [word for word in words if word not in answer.stderr] == [], answer.stderr


UNKNOWN = ["modle", "engine.maxModelLength", "service.clusterIP", "cache.prefetch", "gateway"]


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_field_is_refused_by_name(apply: Apply, path: str) -> None:
    answer = apply(with_field(path, 1))
    assert answer.code != 0
    assert f'unknown field "spec.{path}"' in answer.stderr


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_field_is_refused_by_server_side_apply_too(apply: Apply, path: str) -> None:
    answer = apply(with_field(path, 1), "--server-side")
    assert answer.code != 0
    assert f".spec.{path}: field not declared in schema" in answer.stderr


@pytest.mark.parametrize("name", ["a" * 253, "1model", "llama-3.1-8b"], ids=["253 characters", "digit first", "dots"])
def test_name_that_no_service_can_have_is_refused(apply: Apply, name: str) -> None:
    answer = apply(manifest(name, {}))
    assert answer.code != 0
    assert "metadata.name" in answer.stderr
    assert "choose a shorter or simpler name" in answer.stderr


def test_refused_change_leaves_the_object_as_it_was(kube: Kube, namespace: str) -> None:
    kube.apply(manifest("steady", {"replicas": 2}), namespace=namespace)
    before = kube.must_get(KIND, "steady", namespace)
    assert kube.apply(manifest("steady", {"replicas": -2}), namespace=namespace, check=False).code != 0
    after = kube.must_get(KIND, "steady", namespace)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


def test_megabyte_of_garbage_is_refused(apply: Apply) -> None:
    body = with_field("engine.extraArgs", ["x" * 1024] * 1024)
    answer = apply(body)
    assert answer.code != 0
    assert "spec.engine.extraArgs" in answer.stderr


def test_megabyte_that_is_no_manifest_is_refused(kube: Kube, namespace: str) -> None:
    answer = kube.apply("\x07{]%" * (1 << 18), namespace=namespace, check=False)
    assert answer.code != 0
    assert answer.stderr


def test_yaml_bomb_is_refused_before_it_expands(kube: Kube, namespace: str) -> None:
    lines = ["x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 10)}]" for level in range(1, 10)]
    inner = "\n".join(f"    {line}" for line in lines)
    text = (
        "apiVersion: vllm-operator.dev/v1alpha1\nkind: VLLMServer\nmetadata: {name: bomb}\n"
        f"spec:\n  model: {{uri: org/name}}\n  podTemplate:\n{inner}\n"
    )
    answer = kube.apply(text, namespace=namespace, check=False)
    assert answer.code != 0
    assert "excessive aliasing" in answer.stderr
    assert kube.get(KIND, "bomb", namespace) is None
