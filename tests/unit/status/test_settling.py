"""When a status is worth writing while Kubernetes' own controllers have yet to answer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.pods import deployment, loading_pod, pod, ready_pod, scheduling_pod
from tests.helpers.status_inputs import MISSING_SECRET, REFUSED, inputs, status_of
from vllm_operator.status.assessment import assess
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.settling import MAX_SETTLE_SECONDS, SETTLE_SECONDS, is_settling, settling_delay

Json = dict[str, Any]


def waiting_pod(name: str = "old") -> Json:
    """A pod that the scheduler has not looked at."""
    body = pod(name, node=None)
    return {**body, "status": {"phase": "Pending"}}


def behind(replicas: int = 0, wanted: int = 1, *, observed: bool = True) -> Json:
    """A Deployment whose controller has not made the pods that it asks for."""
    body: Json = copy.deepcopy(deployment(wanted))
    body["status"] |= {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": 0, "availableReplicas": 0}
    body["status"]["observedGeneration"] = body["metadata"]["generation"] - (not observed)
    body["status"]["conditions"] = []
    return body


def told(*pods: Json, **changes: Any) -> Json:
    """The status that stands."""
    return status_of(inputs(*pods, wanted=1, generation=6, **changes))


def seen(previous: Json, *pods: Json, **changes: Any) -> StatusInputs:
    return inputs(*pods, wanted=1, previous=previous, **{"deployment": behind(), **changes})


WAITS = told(waiting_pod(), deployment=behind(1))
LOADS = told(loading_pod("old"), deployment=behind(1), health={"old": REFUSED})
SERVES = told(ready_pod("old"))
ON_THE_WAY: dict[str, Callable[[], StatusInputs]] = {
    "the spec is not taken up": lambda: seen(WAITS, waiting_pod(), deployment=behind(1, observed=False)),
    "the old pod is gone": lambda: seen(WAITS),
    "the old pod ends": lambda: seen(WAITS, dying(waiting_pod())),
    "the new pod is there, and not counted": lambda: seen(WAITS, waiting_pod("new")),
    "the old one was loading and still is": lambda: seen(LOADS, loading_pod("old"), health={"old": REFUSED}),
}
TOLD: dict[str, Callable[[], StatusInputs]] = {
    "the first status": lambda: seen({}),
    "a replica served": lambda: seen(SERVES),
    "a replica serves": lambda: seen(WAITS, ready_pod("old")),
    "a replica was loading": lambda: seen(LOADS),
    "a replica loads": lambda: seen(WAITS, loading_pod("new"), health={"new": REFUSED}),
    "no node takes the new one": lambda: seen(WAITS, scheduling_pod("new")),
    "another number is wanted": lambda: seen(WAITS, waiting_pod(), deployment=behind(1, wanted=2)),
    "the endpoint is another": lambda: seen(WAITS, endpoint="http://elsewhere"),
    "it is paused": lambda: seen(WAITS, paused=True),
    "nothing has changed at all": lambda: seen(status_of(seen({}, waiting_pod())), waiting_pod()),
}


def dying(body: Json) -> Json:
    return {**body, "metadata": {**body["metadata"], "deletionTimestamp": "2026-03-02T08:59:00Z"}}


@pytest.mark.parametrize("case", [*ON_THE_WAY, *TOLD])
def test_answer_is_waited_for_in_any_case(case: str) -> None:
    found = (ON_THE_WAY | TOLD)[case]()

    assert is_settling(found.snapshot)
    assert settling_delay(assess(found), 0.0) == SETTLE_SECONDS
    assert settling_delay(assess(found), SETTLE_SECONDS - 1) == 1


@pytest.mark.parametrize("case", ON_THE_WAY)
def test_what_changes_on_the_way_is_told_within_a_minute(case: str) -> None:
    assert settling_delay(assess(ON_THE_WAY[case]()), SETTLE_SECONDS) == MAX_SETTLE_SECONDS - SETTLE_SECONDS
    assert settling_delay(assess(ON_THE_WAY[case]()), MAX_SETTLE_SECONDS) is None
    assert MAX_SETTLE_SECONDS < 60


@pytest.mark.parametrize("case", TOLD)
def test_what_a_user_waits_for_or_worries_about_is_told_soon(case: str) -> None:
    assert settling_delay(assess(TOLD[case]()), SETTLE_SECONDS) is None


def test_rollout_that_waits_for_its_replicas_is_not_waited_for() -> None:
    """All pods are there, one of them of an older revision that serves."""
    body = deployment(1)
    body["status"] |= {"replicas": 1, "updatedReplicas": 0}
    found = inputs(ready_pod("old"), wanted=1, previous=WAITS, deployment=body)

    assert is_settling(found.snapshot)
    assert settling_delay(assess(found), SETTLE_SECONDS) is None


def test_controller_that_cannot_make_pods_has_answered() -> None:
    body = behind()
    body["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]

    assert not is_settling(inputs(wanted=1, deployment=body).snapshot)


def test_refusal_after_a_wait_is_told() -> None:
    found = seen(WAITS, waiting_pod(), problems=(MISSING_SECRET,))

    assert settling_delay(assess(found), SETTLE_SECONDS) is None
