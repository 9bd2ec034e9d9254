"""Parsing a VLLMServer: an error names its field."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, UID, body, server, spec
from vllm_operator.api.names import UNREADABLE
from vllm_operator.api.server import DEEPEST_NESTING, MOST_VALUES, parse_server
from vllm_operator.api.spec import DEFAULT_IMAGE
from vllm_operator.errors import InvalidSpecError


def refusal(**fields: Any) -> InvalidSpecError:
    with pytest.raises(InvalidSpecError) as caught:
        parse_server(body(**fields))
    return caught.value


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("spec.model", {"model": None}),
    ("spec.model.uri", {"model": {}}),
    ("spec.model.servedNames", {"model": {**MODEL, "servedNames": []}}),
    ("spec.model.servedNames[1]", {"model": {**MODEL, "servedNames": ["a", ""]}}),
    ("spec.modle", {"modle": {}}),
    ("spec.image", {"image": "a b"}),
    ("spec.image", {"image": ""}),
    ("spec.version", {"version": "latest"}),
    ("spec.replicas", {"replicas": -1}),
    ("spec.sharedMemory", {"sharedMemory": "lots"}),
    ("spec.engine.gpuMemoryUtilization", {"engine": {"gpuMemoryUtilization": 0}}),
    ("spec.engine.gpuMemoryUtilization", {"engine": {"gpuMemoryUtilization": 1.2}}),
    ("spec.engine.tensorParallelSize", {"engine": {"tensorParallelSize": 0}}),
    ("spec.engine.maxModelLenn", {"engine": {"maxModelLenn": 8192}}),
    ("spec.engine.env[0].name", {"engine": {"env": [{"value": "x"}]}}),
    ("spec.engine.extraArgs[1]", {"engine": {"extraArgs": ["--a", {"b": 1}]}}),
    ("spec.resources.limits.cpu", {"resources": {"limits": {"cpu": "many"}}}),
    ("spec.resources.limits.int", {"resources": {"limits": {"int": "many"}}}),
    ("spec.accelerator.product", {"accelerator": {"product": "A100 80GB"}}),
    ("spec.scheduling.tolerations[0].effect", {"scheduling": {"tolerations": [{"effect": "Never"}]}}),
    ("spec.cache.accessModes[0]", {"cache": {"size": "1Gi", "accessModes": ["RWX"]}}),
    ("spec.autoscaling.maxReplicas", {"autoscaling": {"minReplicas": 2}}),
    ("spec.service.port", {"service": {"port": 70000}}),
    ("spec.service.labels.team", {"service": {"labels": {"team": 1}}}),
    ("spec.rollout.maxSurge", {"rollout": {"maxSurge": "half"}}),
    ("spec.rollout.maxUnavailable", {"rollout": {"maxUnavailable": -1}}),
    ("spec.podTemplate", {"podTemplate": []}),
    ("spec.engine.env", {"engine": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}),
    ("spec.engine.env[0].name", {"engine": {"env": [{"name": "A=B"}]}}),
    ("spec.engine.maxModelLen", {"engine": {"maxModelLen": "8192"}}),
    ("spec.engine.enforceEager", {"engine": {"enforceEager": 1}}),
    ("spec.replicas", {"replicas": True}),
    ("spec.sharedMemory", {"sharedMemory": "-1Gi"}),
    ("spec.rollout.maxUnavailable", {"rollout": {"maxUnavailable": "101%"}}),
    ("spec.model.tokenSecretRef.name", {"model": {**MODEL, "tokenSecretRef": {"name": "../../secrets/x"}}}),
    ("spec.cache.existingClaim", {"cache": {"existingClaim": "../secrets/x"}}),
    ("spec.image", {"image": "a\u00a0b"}),
    ("spec.scheduling.nodeSelector.pool", {"scheduling": {"nodeSelector": {"pool": "a b"}}}),
]


@pytest.mark.parametrize(("field", "fields"), WRONG, ids=[f"{field}-{i}" for i, (field, _) in enumerate(WRONG)])
def test_wrong_field_is_named(field: str, fields: dict[str, Any]) -> None:
    error = refusal(**fields)

    assert error.field == field
    assert error.message.startswith(f"{field}: ")


def test_identity_comes_from_the_metadata() -> None:
    one = server("mistral", "llm")

    assert (one.namespace, one.name, one.uid, one.generation) == ("llm", "mistral", UID, 1)
    assert one.key == "llm/mistral"
    assert one.owner_reference["uid"] == UID
    assert one.owner_reference["controller"] is True


def test_smallest_manifest_gets_every_default() -> None:
    smallest = spec()

    assert (smallest.replicas, smallest.image, smallest.shared_memory) == (1, DEFAULT_IMAGE, "16Gi")
    assert (smallest.accelerator.resource_name, smallest.accelerator.count) == ("nvidia.com/gpu", None)
    assert (smallest.rollout.max_surge, smallest.rollout.max_unavailable) == (0, 1)
    assert smallest.cache is None
    assert smallest.autoscaling is None


def test_default_image_is_a_fixed_release() -> None:
    assert DEFAULT_IMAGE.rpartition(":")[2].startswith("v0.")


def test_engine_fields_have_no_default() -> None:
    """vLLM's default applies to an unset field, so that a flag in extraArgs collides only with a field that is set."""
    assert spec().engine.model_dump(exclude_none=True) == {"extra_args": [], "env": []}


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


def test_deep_nesting_is_refused_without_recursion() -> None:
    assert str(DEEPEST_NESTING) in refusal(podTemplate=nested(20_000)).message


@pytest.mark.parametrize("values", [[[]] * 400_000, {str(number): {} for number in range(MOST_VALUES)}])
def test_open_parts_with_too_many_values_are_refused(values: Any) -> None:
    assert str(MOST_VALUES) in refusal(podTemplate={"spec": values}).message


def test_nesting_of_real_pod_templates_is_accepted() -> None:
    assert server(podTemplate=nested(20)).spec.pod_template == nested(20)


@pytest.mark.parametrize("number", [2**63, -(2**64), 10**20])
def test_numbers_beyond_64_bits_are_refused(number: int) -> None:
    assert "64 bits" in refusal(scheduling={"affinity": {"a": [{"b": number}]}}).message


def test_largest_number_of_kubernetes_is_accepted() -> None:
    assert server(scheduling={"affinity": {"a": 2**63 - 1}}).spec.scheduling.affinity == {"a": 2**63 - 1}


def test_quantities_are_taken_as_numbers_and_as_text() -> None:
    limits = spec(resources={"limits": {"cpu": 2, "memory": "1Gi"}}).resources.limits

    assert limits == {"cpu": 2, "memory": "1Gi"}


def test_object_that_was_not_read_is_refused_with_the_reason() -> None:
    stub = {name: value for name, value in body().items() if name != "spec"}
    with pytest.raises(InvalidSpecError, match="spec: the VLLMServer cannot be read: it has 300 KiB") as caught:
        parse_server({**stub, UNREADABLE: "it has 300 KiB"})
    assert caught.value.reason == "Unreadable"
