"""An upgrade of the operator keeps the pods of a server from before the draining middleware."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.controller.former_template import former_state, has_template_of, lacks_drain
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.kube.kinds import DEPLOYMENT

NONE: frozenset[str] = frozenset()


def state(*, drains: bool = True, **spec: Any) -> DesiredState:
    return desired_state(body(**spec), NONE, drains=drains)


def deployment(desired: DesiredState) -> dict[str, Any]:
    return next(manifest.body for manifest in desired.manifests if manifest.kind == DEPLOYMENT.name)


OLD = deployment(state(drains=False))


def kept(live: dict[str, Any] | None, **spec: Any) -> bool:
    return former_state(state(**spec), live, lambda: state(drains=False, **spec)) is not None


def test_new_server_drains() -> None:
    assert not kept(None)
    assert not lacks_drain(None)
    assert not lacks_drain(deployment(state()))


@pytest.mark.parametrize("spec", [{}, {"replicas": 3}, {"rollout": {"maxSurge": 1}}], ids=str)
def test_pods_stay_as_they_are_while_the_spec_does_not_change_them(spec: dict[str, Any]) -> None:
    assert kept(OLD, **spec)


@pytest.mark.parametrize("spec", [{"rollout": {"drainTimeoutSeconds": 7}}, {"sharedMemory": "1Gi"}], ids=str)
def test_change_of_the_pods_brings_the_middleware(spec: dict[str, Any]) -> None:
    assert not kept(OLD, **spec)


def test_defaults_and_restarts_of_other_writers_are_no_change() -> None:
    live = copy.deepcopy(OLD)
    live["metadata"]["annotations"] = {}
    live["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2026-03-02T08:00:00Z"
    live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"

    assert kept(live)


def test_admission_change_does_not_restart_the_pods() -> None:
    """The hash shows that the operator applied this very manifest, whatever a webhook made of it."""
    live = copy.deepcopy(OLD)
    live["spec"]["template"]["spec"]["enableServiceLinks"] = True

    assert kept(live)


def test_server_that_cannot_drain_is_left_alone() -> None:
    assert not kept(OLD, image="registry.example/vllm:ours")


def test_nothing_has_the_template_of_no_deployment() -> None:
    assert not has_template_of(OLD, ())
