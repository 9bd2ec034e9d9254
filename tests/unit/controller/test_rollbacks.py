"""Only servers that ask for it are rolled back, and each failure is acted upon once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.specs import body
from tests.helpers.status_inputs import inputs
from tests.unit.status.test_rollback import assessment
from vllm_operator.controller import rollbacks
from vllm_operator.controller.rollbacks import desired_with_rollback, must_roll_back
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.informers.snapshot import Snapshot


class FakeState:
    """The part of a server's state that rollbacks use."""

    rollout_failure = ""


def desired(*, asks: bool = True) -> DesiredState:
    return desired_state(body(rollout={"autoRollback": asks}), frozenset())


def test_server_that_does_not_ask_keeps_its_manifests() -> None:
    state: Any = FakeState()
    one = desired(asks=False)

    assert desired_with_rollback(state, Snapshot(), one) is one
    assert not must_roll_back(state, one, assessment(), "it errs")


def test_deployment_gets_the_rollback_state(monkeypatch: pytest.MonkeyPatch) -> None:
    state: Any = FakeState()
    state.rollout_failure = "it crashed"
    seen = []
    monkeypatch.setattr(rollbacks, "with_rollback", lambda one, live, failure: seen.append((live, failure)) or one)

    desired_with_rollback(state, Snapshot(deployment={"a": 1}), desired())

    assert seen == [({"a": 1}, "it crashed")]


def test_failure_is_acted_upon_once() -> None:
    state: Any = FakeState()

    assert must_roll_back(state, desired(), assessment(), "")
    assert state.rollout_failure == "mistral-a: it crashed"
    assert not must_roll_back(state, desired(), assessment(), "")


@pytest.mark.parametrize("changes", [{"rolled_back": "it crashed"}, {"paused": True}], ids=str)
def test_rollout_that_is_held_or_paused_is_left_alone(changes: dict[str, Any]) -> None:
    state: Any = FakeState()
    found = assessment()
    held = replace(found, inputs=replace(found.inputs, **changes))

    assert not must_roll_back(state, desired(), held, "it errs")
    assert state.rollout_failure == ""
    assert inputs().rolled_back == ""
