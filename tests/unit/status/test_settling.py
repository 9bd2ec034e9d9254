"""How long a status waits for Kubernetes' controllers to react."""

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
    """Return a pod that the scheduler has not handled yet."""
    body = pod(name, node=None)
    return {**body, "status": {"phase": "Pending"}}


def behind(replicas: int = 0, wanted: int = 1, *, observed: bool = True) -> Json:
    """Return a Deployment whose controller has not created the pods that it asks for."""
    body: Json = copy.deepcopy(deployment(wanted))
    body["status"] |= {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": 0, "availableReplicas": 0}
    body["status"]["observedGeneration"] = body["metadata"]["generation"] - (not observed)
    body["status"]["conditions"] = []
    return body


def current(*pods: Json, **changes: Any) -> Json:
    """Return the current status."""
    return status_of(inputs(*pods, wanted=1, generation=6, **changes))


def changed(previous: Json, *pods: Json, **changes: Any) -> StatusInputs:
    return inputs(*pods, wanted=1, previous=previous, **{"deployment": behind(), **changes})


WAITS = current(waiting_pod(), deployment=behind(1))
LOADS = current(loading_pod("old"), deployment=behind(1), health={"old": REFUSED})
SERVES = current(ready_pod("old"))
TRANSIENT: dict[str, Callable[[], StatusInputs]] = {
    "the spec is not observed": lambda: changed(WAITS, waiting_pod(), deployment=behind(1, observed=False)),
    "the old pod is gone": lambda: changed(WAITS),
    "the old pod ends": lambda: changed(WAITS, dying(waiting_pod())),
    "the new pod is there, and not counted": lambda: changed(WAITS, waiting_pod("new")),
    "the old one was loading and still is": lambda: changed(LOADS, loading_pod("old"), health={"old": REFUSED}),
}
LASTING: dict[str, Callable[[], StatusInputs]] = {
    "the first status": lambda: changed({}),
    "a replica served": lambda: changed(SERVES),
    "a replica serves": lambda: changed(WAITS, ready_pod("old")),
    "a replica was loading": lambda: changed(LOADS),
    "a replica loads": lambda: changed(WAITS, loading_pod("new"), health={"new": REFUSED}),
    "no node takes the new one": lambda: changed(WAITS, scheduling_pod("new")),
    "another number is wanted": lambda: changed(WAITS, waiting_pod(), deployment=behind(1, wanted=2)),
    "the endpoint is another": lambda: changed(WAITS, endpoint="http://elsewhere"),
    "it is paused": lambda: changed(WAITS, paused=True),
    "nothing has changed at all": lambda: changed(status_of(changed({}, waiting_pod())), waiting_pod()),
}


def dying(body: Json) -> Json:
    return {**body, "metadata": {**body["metadata"], "deletionTimestamp": "2026-03-02T08:59:00Z"}}


@pytest.mark.parametrize("case", [*TRANSIENT, *LASTING])
def test_every_status_settles_for_five_seconds(case: str) -> None:
    given = (TRANSIENT | LASTING)[case]()

    assert is_settling(given.snapshot)
    assert settling_delay(assess(given), 0.0) == SETTLE_SECONDS
    assert settling_delay(assess(given), SETTLE_SECONDS - 1) == 1


@pytest.mark.parametrize("case", TRANSIENT)
def test_transient_change_is_written_within_a_minute(case: str) -> None:
    assert settling_delay(assess(TRANSIENT[case]()), SETTLE_SECONDS) == MAX_SETTLE_SECONDS - SETTLE_SECONDS
    assert settling_delay(assess(TRANSIENT[case]()), MAX_SETTLE_SECONDS) is None
    assert MAX_SETTLE_SECONDS < 60


@pytest.mark.parametrize("case", LASTING)
def test_lasting_change_is_written_after_five_seconds(case: str) -> None:
    assert settling_delay(assess(LASTING[case]()), SETTLE_SECONDS) is None


def test_status_does_not_wait_for_a_rollout_that_waits_for_its_replicas() -> None:
    """All pods are there, one of them of an older revision that serves."""
    body = deployment(1)
    body["status"] |= {"replicas": 1, "updatedReplicas": 0}
    given = inputs(ready_pod("old"), wanted=1, previous=WAITS, deployment=body)

    assert is_settling(given.snapshot)
    assert settling_delay(assess(given), SETTLE_SECONDS) is None


def test_controller_that_cannot_create_pods_has_reacted() -> None:
    body = behind()
    body["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]

    assert not is_settling(inputs(wanted=1, deployment=body).snapshot)


def test_refusal_is_written_after_five_seconds() -> None:
    given = changed(WAITS, waiting_pod(), problems=(MISSING_SECRET,))

    assert settling_delay(assess(given), SETTLE_SECONDS) is None
