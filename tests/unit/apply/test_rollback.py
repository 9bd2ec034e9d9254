"""A failed rollout goes back to the pods that served, and stays there until the spec changes its pods."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.apply.rollback import (
    ANNOTATION_ROLLBACK,
    MAX_CAUSE_LENGTH,
    RollbackState,
    rollback_state,
    rolled_back,
    stored_template,
    with_rollback,
)
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.manifest import Manifest

CAUSE = "mistral-7d4b-abcde: exit code 1: no such flag"


def manifest(image: str = "v1", **spec: Any) -> Manifest:
    found = desired_state(body(image=f"vllm/vllm-openai:{image}", **spec), frozenset())
    return next(one for one in found.manifests if one.kind == "Deployment")


def live(applied: Manifest, *, available: int = 1, replicas: int = 1) -> dict[str, Any]:
    """The Deployment as the API server holds it after an apply, with a default and the status of its rollout."""
    found = copy.deepcopy(applied.body)
    found["metadata"]["generation"] = 3
    found["spec"]["replicas"] = replicas
    found["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    counts = {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": available}
    found["status"] = {"observedGeneration": 3, **counts}
    return found


def image_of(applied: Manifest) -> str:
    return str(applied.body["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


def state_of(applied: Manifest) -> RollbackState:
    found = rollback_state(applied.body)
    assert found is not None
    return found


def rolled_out() -> dict[str, Any]:
    """A Deployment whose first revision serves."""
    return live(with_rollback(manifest("v1"), live(manifest("v1")), ""))


def test_new_deployment_has_no_state() -> None:
    assert with_rollback(manifest(), None, "") == manifest()
    assert rolled_back(None) == ""


def test_nothing_changes_at_rest() -> None:
    first = with_rollback(manifest("v1"), live(manifest("v1")), "")
    second = with_rollback(manifest("v1"), live(first), "")

    assert first == second
    assert image_of(first) == "v1"


def test_failed_rollout_goes_back_and_is_held() -> None:
    rolling = with_rollback(manifest("v2"), rolled_out(), "")
    back = with_rollback(manifest("v2"), live(rolling, available=0), CAUSE)
    held = with_rollback(manifest("v2"), live(back), "")

    assert image_of(rolling) == "v2"
    assert image_of(back) == "v1"
    assert held == back, "also after a restart of the operator, which forgets the failure"
    assert rolled_back(back.body) == CAUSE
    assert back.body["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    assert back.body["metadata"]["annotations"][ANNOTATION_HASH] == back.hash != rolling.hash


def test_replicas_can_be_scaled_while_the_pods_are_held() -> None:
    back = with_rollback(manifest("v2"), live(with_rollback(manifest("v2"), rolled_out(), ""), available=0), CAUSE)
    scaled = with_rollback(manifest("v2", replicas=4), live(back), "")

    assert image_of(scaled) == "v1"
    assert scaled.body["spec"]["replicas"] == 4


def test_next_change_of_the_pods_is_tried_and_can_go_back_again() -> None:
    back = with_rollback(manifest("v2"), live(with_rollback(manifest("v2"), rolled_out(), ""), available=0), CAUSE)
    third = with_rollback(manifest("v3"), live(back), "")
    again = with_rollback(manifest("v3"), live(third, available=0), CAUSE)

    assert image_of(third) == "v3"
    assert rolled_back(third.body) == ""
    assert image_of(again) == "v1"


def test_pods_that_never_served_are_not_gone_back_to() -> None:
    """The second change came before the first one was rolled out."""
    second = with_rollback(manifest("v2"), rolled_out(), "")
    third = with_rollback(manifest("v3"), live(second, available=0), "")
    back = with_rollback(manifest("v3"), live(third, available=0), CAUSE)

    assert image_of(back) == "v1"


def test_first_pods_have_nothing_to_go_back_to() -> None:
    applied = with_rollback(manifest("v1"), live(manifest("v1"), available=0), CAUSE)
    again = with_rollback(manifest("v1"), live(applied, available=0), CAUSE)

    assert image_of(again) == "v1"
    assert rolled_back(again.body) == ""


def test_pods_that_served_and_fail_now_are_not_replaced_by_themselves() -> None:
    again = with_rollback(manifest("v1"), rolled_out(), CAUSE)

    assert rolled_back(again.body) == ""


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"wanted": 7}', "x" * 200_000, '{"a":' * 2000])
def test_annotation_that_others_broke_is_replaced(text: str) -> None:
    found = rolled_out()
    found["metadata"]["annotations"][ANNOTATION_ROLLBACK] = text

    assert state_of(with_rollback(manifest("v2"), found, "")).served
    assert image_of(with_rollback(manifest("v2"), found, CAUSE)) == "v2"


@pytest.mark.parametrize("served", ["", "not base 85 \x00", "VPazd", "c$@(M0RR"])
def test_template_that_cannot_be_read_is_not_used(served: str) -> None:
    assert stored_template(served) is None


def test_cause_is_bounded() -> None:
    rolling = with_rollback(manifest("v2"), rolled_out(), "")
    back = with_rollback(manifest("v2"), live(rolling, available=0), "x" * 10_000)

    assert len(rolled_back(back.body)) == MAX_CAUSE_LENGTH
