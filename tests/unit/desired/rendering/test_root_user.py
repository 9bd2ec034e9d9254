"""A container that the kubelet would never start is refused, wherever its user comes from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.desired.state import desired_state

ROOT: dict[str, Any] = {"runAsUser": 0}


def messages(**fields: Any) -> list[str]:
    return [problem.message for problem in desired_state(body(**fields), frozenset()).problems]


def template(**fields: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": fields}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"security": {"podSecurityContext": ROOT}}, "spec.security.podSecurityContext.runAsUser"),
        ({"security": {"containerSecurityContext": ROOT}}, "spec.security.containerSecurityContext.runAsUser"),
        (template(securityContext=ROOT), "spec.podTemplate"),
        (template(containers=[{"name": "vllm", "securityContext": ROOT}]), "spec.podTemplate"),
        (template(initContainers=[{"name": "init", "image": "x", "securityContext": ROOT}]), "spec.podTemplate"),
    ],
)
def test_root_beside_run_as_non_root_is_refused(fields: dict[str, Any], field: str) -> None:
    (message,) = messages(**fields)

    assert message.startswith(f"{field}: the container ")


@pytest.mark.parametrize(
    "fields",
    [
        {"security": {"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": False}}},
        {"security": {"podSecurityContext": {"runAsUser": 0, "runAsNonRoot": None}}},
        {"security": {"podSecurityContext": ROOT, "containerSecurityContext": {"runAsUser": 5}}},
        {"security": {"podSecurityContext": ROOT, "containerSecurityContext": {"runAsNonRoot": False}}},
        template(initContainers=[{"name": "init", "securityContext": {"runAsUser": 0, "runAsNonRoot": False}}]),
        template(initContainers="x"),
        template(securityContext=None),
    ],
)
def test_pod_that_starts_is_accepted(fields: dict[str, Any]) -> None:
    assert not any("root" in message for message in messages(**fields))
