"""Results about pods are computed once, until the pod or an input changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.pods import crashed_pod, ready_pod, termination
from tests.helpers.status_inputs import inputs, status_of
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.status.assessment import assess
from vllm_operator.status.replicas import pod_states
from vllm_operator.status.replicas.pod_memo import ENDS, MIN_PODS, PodMemo


def pod(uid: str = "u", version: str = "1") -> dict[str, Any]:
    """Return a pod with these identifiers."""
    return {"metadata": {"uid": uid, "resourceVersion": version}}


def test_result_is_computed_once() -> None:
    memo, results = PodMemo(), iter(range(9))

    def compute() -> int:
        return next(results)

    assert [memo.recall(pod(), "a", compute, 1) for _ in range(3)] == [0, 0, 0]
    assert memo.recall(pod(), "a", compute, 2) == 1
    assert memo.recall(pod(), "b", compute, 2) == 2
    assert memo.recall(pod(version="2"), "a", compute, 2) == 3
    assert memo.recall(pod(uid="v"), "a", compute, 2) == 4


@pytest.mark.parametrize("body", [{}, {"metadata": {"uid": "u"}}, {"metadata": {"resourceVersion": "1"}}])
def test_pod_without_identity_is_not_remembered(body: dict[str, Any]) -> None:
    memo, results = PodMemo(), iter(range(9))
    assert [memo.recall(body, "a", lambda: next(results)) for _ in range(2)] == [0, 1]


def test_pod_that_is_gone_is_forgotten() -> None:
    memo, results = PodMemo(), iter(range(9))
    memo.recall(pod(), "a", lambda: next(results))
    others = [pod(uid=str(number)) for number in range(MIN_PODS)]
    memo.keep([pod(), *others])
    assert memo.recall(pod(), "a", lambda: next(results)) == 0
    memo.keep(others)
    assert memo.recall(pod(), "a", lambda: next(results)) == 1


def test_small_server_keeps_only_the_diagnoses_of_ends() -> None:
    memo, results = PodMemo(), iter(range(9))
    memo.keep([pod()])
    assert [memo.recall(pod(), "a", lambda: next(results)) for _ in range(2)] == [0, 1]
    assert [memo.recall(pod(), ENDS, lambda: next(results)) for _ in range(2)] == [2, 2]


def test_diagnosis_of_an_end_outlasts_a_change_of_the_pod() -> None:
    memo, results = PodMemo(), iter(range(9))
    memo.recall(pod(), ENDS, lambda: next(results), "container-1")
    assert memo.recall(pod(version="2"), ENDS, lambda: next(results), "container-1") == 0
    assert memo.recall(pod(version="2"), ENDS, lambda: next(results), "container-2") == 1


def crashed(version: str) -> dict[str, Any]:
    """Return a pod that crashed, in a resource version."""
    body = crashed_pod({**termination(1, "error: unrecognized arguments: --zzz"), "containerID": "containerd://1"})
    body["metadata"] |= {"uid": "u", "resourceVersion": version}
    return body


def test_termination_message_is_diagnosed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def diagnose(message: str) -> Diagnosis:
        read.append(message)
        return Diagnosis("UnknownFlag", "no such flag")

    monkeypatch.setattr(pod_states, "diagnose_log", diagnose)
    memo = PodMemo()
    for version in ("1", "1", "2"):
        body = crashed(version)
        for previous in ({}, status_of(inputs(body, memo=memo))):
            assert (
                status_of(inputs(body, previous=previous, memo=memo))["replicaStatuses"][0]["reason"] == "UnknownFlag"
            )
    assert len(read) == 1


def test_termination_message_is_not_read_when_the_log_was_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_states, "diagnose_log", lambda message: pytest.fail("reads the termination message"))
    body = crashed("1")
    found = inputs(body, log_diagnoses={body["metadata"]["name"]: Diagnosis("ContextTooLong", "lower it")})
    assert status_of(found)["replicaStatuses"][0]["reason"] == "ContextTooLong"


def test_memo_changes_no_status() -> None:
    memo = PodMemo()
    healthy = ready_pod("a")
    healthy["metadata"] |= {"uid": "a", "resourceVersion": "1"}
    for body in (healthy, crashed("1"), crashed("2")):
        found = inputs(body)
        remembered = replace(found, memo=memo)
        for _ in range(2):
            assert status_of(remembered) == status_of(found)
            assert assess(remembered).replicas == assess(found).replicas
