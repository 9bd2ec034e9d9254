"""Test which field of the spec is named for a refused child."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.apply.spec_field_of import (
    MAX_MESSAGE_LENGTH,
    SPEC_FIELD_BY_KIND,
    SPEC_FIELD_BY_PATH,
    _first_path,
    spec_field_for,
)
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
    ("Service", "spec.ports[0].nodePort: Invalid value: 30080: provided port is taken", "spec.service.nodePort"),
    ("Service", "spec.ports[0].port: Invalid value", "spec.service.port"),
    ("Service", "spec.loadBalancerClass: may not change once set", "spec.service.spec.loadBalancerClass"),
    ("Service", "spec.loadBalancerIP: no", "spec.service.spec.loadBalancerIP"),
    ("Service", "spec.ipFamilies[0]: Invalid value", "spec.service.spec.ipFamilies"),
    (
        "Service",
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: no",
        "spec.service.spec.sessionAffinityConfig",
    ),
    ("Deployment", "spec.template.spec.volumes[0].nfs.path: Required value", "spec.cache or spec.podTemplate"),
    ("Deployment", "spec.template.spec.volumes[1].emptyDir: no", "spec.sharedMemory or spec.podTemplate"),
    ("Deployment", "spec.template.spec.volumes[2].name: no", "spec.podTemplate"),
    (
        "Deployment",
        'typed patch: .spec.template.spec.volumes[name="model-cache"].nfs.server: expected string',
        "spec.cache or spec.podTemplate",
    ),
    (
        "Deployment",
        'typed patch: .spec.template.spec.containers[name="vllm"].securityContext.runAsUser: expected numeric',
        "spec.security.containerSecurityContext or spec.podTemplate",
    ),
    (
        "Deployment",
        'typed patch: .spec.template.spec.containers[name="proxy"].securityContext.runAsUser: expected numeric',
        "spec.podTemplate",
    ),
    ("Deployment", "spec.template.spec.containers[0].command: no", "spec.engine.command or spec.podTemplate"),
    ("PodMonitor", "spec.podMetricsEndpoints: no", "spec.monitoring"),
    ("Deployment", "my-spec.template: no: spec.replicas: no", "spec.replicas"),
    ("Deployment", "a:spec.replicas:b.spec.replicas:", "spec.replicas"),
    ("Deployment", "spec.spec.spec y", "spec"),
    ("Deployment", "specs.replicas: no", "spec"),
]


@pytest.mark.parametrize(("kind", "message", "expected"), CASES)
def test_field_is_named(kind: str, message: str, expected: str) -> None:
    assert spec_field_for(kind, f'{kind} "x" is invalid: {message}') == expected


def test_every_kind_of_child_has_a_field() -> None:
    assert set(SPEC_FIELD_BY_KIND) == set(CHILD_KINDS)
    assert set(SPEC_FIELD_BY_PATH) <= set(SPEC_FIELD_BY_KIND)


PIECES = [
    "spec",
    "spec.",
    "metadata.",
    "metadata",
    ".",
    "[",
    ":",
    " ",
    "x",
    "[spec",
    "spec[",
    " spec",
    "spec:",
    "\n",
    "é",
]


@pytest.mark.parametrize("piece", PIECES)
def test_time_grows_with_the_length_of_the_message(piece: str) -> None:
    def seconds(size: int) -> float:
        text = (piece * size)[:size].replace(":", ";" if piece != ":" else ":")
        began = time.process_time()
        for _ in range(3):
            _first_path(text)
        return time.process_time() - began

    assert seconds(400_000) < 12 * max(seconds(100_000), 0.002)


@pytest.mark.parametrize("piece", PIECES)
def test_message_is_cut_before_it_is_read(piece: str) -> None:
    assert spec_field_for("Deployment", piece * MAX_MESSAGE_LENGTH + " spec.replicas: no") in {
        "spec",
        "spec.podTemplate",
    }


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_first_path_is_the_one_that_a_pattern_finds(message: str) -> None:
    found = re.search(r"(?:^|[\s\[.])((?:spec|metadata)\b[^:\s]*):", message)
    assert _first_path(message) == (found[1] if found else "")
