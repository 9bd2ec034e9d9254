"""Test which objects are children of a server, and which it controls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import UID, body
from vllm_operator.api.names import ANNOTATION_SERVER, recommended_labels, selector_labels
from vllm_operator.desired.state import desired_state
from vllm_operator.kube.ownership import controller_uid, is_child_of, is_controlled_by, is_replica_of, is_terminating

Json = dict[str, Any]
SERVER = desired_state(body(), frozenset()).server
OWNER: Json = {
    "apiVersion": "vllm-operator.dev/v1alpha1",
    "kind": "VLLMServer",
    "name": "mistral",
    "uid": UID,
    "controller": True,
}
LABELS = dict(recommended_labels("mistral"))


@pytest.mark.parametrize(
    ("metadata", "child", "controlled"),
    [
        ({"ownerReferences": [OWNER]}, True, True),
        ({"ownerReferences": [{**OWNER, "uid": "former"}]}, True, False),
        ({"ownerReferences": [{**OWNER, "name": "other", "uid": "other"}]}, False, False),
        ({"ownerReferences": [{**OWNER, "kind": "Other", "uid": "other"}]}, False, False),
        ({"ownerReferences": [{**OWNER, "apiVersion": "other.dev/v1", "uid": "other"}]}, False, False),
        (
            {"ownerReferences": [{**OWNER, "controller": False}], "annotations": {ANNOTATION_SERVER: "other"}},
            False,
            False,
        ),
        ({"annotations": {ANNOTATION_SERVER: "mistral"}}, True, False),
        ({"annotations": {ANNOTATION_SERVER: "other"}, "labels": LABELS}, False, False),
        ({"labels": LABELS}, True, False),
        ({"labels": None, "annotations": None}, False, False),
    ],
    ids=[
        "owned",
        "of a deleted server",
        "of another server",
        "of another kind",
        "of another group",
        "not controlled",
        "annotated",
        "annotated for another server",
        "labelled",
        "bare",
    ],
)
def test_owner(metadata: Json, child: bool, controlled: bool) -> None:
    assert is_child_of({"metadata": metadata}, SERVER) is child
    assert is_controlled_by({"metadata": metadata}, SERVER) is controlled


def test_deleted_object_is_terminating() -> None:
    assert is_terminating({"metadata": {"deletionTimestamp": "2026-03-02T08:00:00Z"}})
    assert not is_terminating({"metadata": {}})


REPLICA_SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "mistral-5f9c6d7b8", "controller": True}


@pytest.mark.parametrize(
    ("owners", "replica"),
    [
        ([REPLICA_SET], True),
        ([{**REPLICA_SET, "controller": False}], False),
        ([{**REPLICA_SET, "controller": "true"}], False),
        ([{**REPLICA_SET, "name": "mistral-5f9c6d7b80"}], False),
        ([{**REPLICA_SET, "kind": "StatefulSet"}], False),
        ([{**REPLICA_SET, "apiVersion": "example.com/v1"}], False),
        (["mistral"], False),
        ([], False),
        (None, False),
    ],
)
def test_replica_is_controlled_by_a_replica_set_of_its_deployment(owners: Any, replica: bool) -> None:
    labels = {**selector_labels("mistral"), "pod-template-hash": "5f9c6d7b8"}
    pod = {"metadata": {"labels": labels, "ownerReferences": owners}}
    assert is_replica_of(pod, "mistral") is replica
    assert not is_replica_of(pod, "mistral-5f9c6d7b8")


def test_controller_uid_is_empty_without_a_controller() -> None:
    assert controller_uid({"ownerReferences": [OWNER]}) == UID
    assert controller_uid({"ownerReferences": [{**OWNER, "controller": False}]}) == ""
    assert controller_uid({}) == ""
