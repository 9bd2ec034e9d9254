"""Containers whose log explains why a replica is down."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.pods import container as container_status
from tests.helpers.pods import crashed_pod, loading_pod, ready_pod, termination, with_container
from vllm_operator.investigation.failed_containers import FailedContainer, failed_container
from vllm_operator.status.replicas.pod_memo import PodMemo

EXIT = {**termination(1), "containerID": "containerd://1"}


def failures(*pods: dict[str, Any], late: bool = False) -> list[FailedContainer]:
    return [found for body in pods if (found := failed_container(body, late, PodMemo()))]


def test_log_of_the_previous_run_counts_after_a_restart() -> None:
    (failed,) = failures(crashed_pod(EXIT, "a"))

    assert (failed.pod, failed.container, failed.run, failed.previous) == ("a", "vllm", "containerd://1", True)


def test_log_of_the_present_run_counts_until_the_restart() -> None:
    (failed,) = failures(with_container(crashed_pod(EXIT, "a"), container_status({"terminated": EXIT})))

    assert (failed.run, failed.previous) == ("containerd://1", False)


def test_each_exit_is_another_run() -> None:
    (first,), (second,) = (failures(crashed_pod({**EXIT, "containerID": run}, "a")) for run in ("1", "2"))

    assert first != second


@pytest.mark.parametrize("late", [False, True])
def test_start_fails_when_its_rollout_is_late(late: bool) -> None:
    found = failures(loading_pod("a"), late=late)

    assert [failed.pod for failed in found] == (["a"] if late else [])
    assert not any(failed.previous for failed in found)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("body", [ready_pod("a"), crashed_pod({**EXIT, "reason": "OOMKilled"}, "a")])
def test_replica_that_needs_no_log_has_no_failure(body: dict[str, Any], late: bool) -> None:
    assert failures(body, late=late) == []
