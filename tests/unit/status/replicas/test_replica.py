"""The replicas of a server: order, steady messages and times."""

from __future__ import annotations

from dataclasses import replace

from tests.helpers.pods import (
    crashed_pod,
    ready_pod,
    scheduling_pod,
    termination,
    waiting_pod,
)
from tests.helpers.status_inputs import NOW, inputs, replica_of, status_of
from vllm_operator.probing.health import ReplicaHealth

NAME = "mistral-5f9c6d7b8-x2k7b"


def test_older_kubelets_short_back_off_keeps_the_previous_cause():
    first = replica_of(waiting_pod("ErrImagePull", "pull access denied"))
    later = replica_of(
        waiting_pod("ImagePullBackOff", 'Back-off pulling image "vllm:nope"'), previous={"replicaStatuses": [first]}
    )
    assert later["message"] == "pull access denied"


def test_since_is_kept_while_phase_and_reason_last():
    first = replica_of(ready_pod(), ReplicaHealth("HTTPError", "500"))
    later = inputs(ready_pod(), health={NAME: ReplicaHealth("HTTPError", "503")}, previous={"replicaStatuses": [first]})
    (entry,) = status_of(replace(later, now=NOW.replace(hour=23)))["replicaStatuses"]
    assert entry["since"] == first["since"] == "2026-03-02T09:00:00Z"


def test_secret_in_a_termination_message_is_masked():
    entry = replica_of(crashed_pod(termination(1, "OSError: 401 for token hf_AbCdEfGhIjKlMn")))
    assert "hf_AbC" not in entry["message"]


def test_hundred_worst_replicas_come_first_in_a_stable_order():
    pods = [ready_pod(f"mistral-{index:03}") for index in range(120)]
    pods[77] = scheduling_pod("mistral-077")
    pods[99] = crashed_pod(termination(1), "mistral-099")
    entries = status_of(inputs(*pods))["replicaStatuses"]
    assert len(entries) == 100
    assert [entry["pod"] for entry in entries[:3]] == ["mistral-099", "mistral-077", "mistral-000"]
    assert entries == status_of(inputs(*reversed(pods)))["replicaStatuses"]
