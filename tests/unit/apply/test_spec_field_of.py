"""Test which field of the spec is named for a refused child."""

from __future__ import annotations

import pytest

from vllm_operator.apply.spec_field_of import SPEC_FIELD_BY_KIND, SPEC_FIELD_BY_PATH, spec_field_for
from vllm_operator.kube.kinds import CHILD_KINDS

CASES = [
    ("Deployment", "spec.template.spec.tolerations[1].operator: no", "spec.scheduling.tolerations or spec.podTemplate"),
    ("Deployment", "[spec.template.spec.containers[0].env[3].name: no, x]", "spec.engine.env or spec.podTemplate"),
    ("Deployment", "spec.template.spec.containers[1].image: Required value", "spec.podTemplate"),
    ("Deployment", "spec.template.labels: Invalid value", "spec.podTemplate"),
    ("Deployment", "spec.strategy.rollingUpdate.maxUnavailable: Invalid value", "spec.rollout"),
    ("Deployment", "typed patch: .spec.template.spec.foo: field not declared in schema", "spec.podTemplate"),
    ("Deployment", "unable to convert unstructured object to apps/v1, Kind=Deployment: no", "spec.podTemplate"),
    ("Deployment", "etcdserver: request is too large", "spec.engine.env, spec.engine.extraArgs or spec.podTemplate"),
    ("Deployment", "admission webhook denied the request", "spec"),
    ("PersistentVolumeClaim", "spec.resources.requests.storage: Forbidden", "spec.cache.size"),
    ("PersistentVolumeClaim", "spec: Forbidden: spec is immutable", "spec.cache"),
    ("Service", "metadata.annotations: Too long", "spec.service.annotations"),
    ("PodMonitor", "spec.podMetricsEndpoints: no", "spec.monitoring"),
]


@pytest.mark.parametrize(("kind", "message", "expected"), CASES)
def test_field_is_named(kind: str, message: str, expected: str) -> None:
    assert spec_field_for(kind, f'{kind} "x" is invalid: {message}') == expected


def test_every_kind_of_child_has_a_field() -> None:
    assert set(SPEC_FIELD_BY_KIND) == set(CHILD_KINDS)
    assert set(SPEC_FIELD_BY_PATH) <= set(SPEC_FIELD_BY_KIND)
