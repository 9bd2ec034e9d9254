"""Test which writers are foreign, whether an apply by force undoes their edits, and how their fields are adopted."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.helpers import record_live
from vllm_operator.kube.managed_fields import (
    OWNERSHIP_TRANSFER_MANAGER,
    RESTART_FIELD,
    adopted_managed_fields,
    forced_apply_suffices,
    foreign_entries,
)

Json = dict[str, Any]
IMAGE: Json = {"f:image": {}}
RESTART_MARK: Json = {"f:kubectl.kubernetes.io/restartedAt": {}}


def live(name: str) -> Json:
    body: Json = json.loads((record_live.FOLDER / f"{name}.json").read_text())
    return body


def owned(fields: Json, spec: Json, **entry: Any) -> Json:
    """Return an object with this spec, in which kubectl owns these fields."""
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": fields}, **entry}
    return {"metadata": {"managedFields": [edit]}, "spec": spec}


def item(name: str, value: Json) -> Json:
    """Return the field set of one container."""
    return {"f:containers": {f'k:{{"name":"{name}"}}': value}}


TAKEN: list[tuple[str, Json, Json, Json]] = [
    ("a number", {"f:port": {}}, {"port": 1}, {"port": 2}),
    ("a field of an item", item("a", IMAGE), {"containers": [{"name": "a", "image": "x"}]},
     {"containers": [{"name": "b", "image": "x"}, {"name": "a", "image": "y"}]}),
    ("an item with a default in its key", {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:targetPort": {}}}},
     {"ports": [{"port": 80, "targetPort": 1}]}, {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 2}]}),
    ("a list as a whole", {"f:args": {}}, {"args": ["a"]}, {"args": ["a", "b"]}),
    ("a map as a whole, extended", {"f:selector": {}}, {"selector": {"a": "b"}}, {"selector": {"a": "b", "c": "d"}}),
    ("a name with dots and a slash", {"f:selector": {"f:a.io/b": {}}}, {"selector": {"a.io/b": "c"}},
     {"selector": {"a.io/b": "d"}}),
    ("all but the mark of a restart", {"f:template": {"f:metadata": {"f:annotations": {".": {}, **RESTART_MARK}}},
     "f:paused": {}}, {"paused": False}, {"paused": True}),
    ("nothing", {}, {"port": 1}, {"port": 1}),
]  # fmt: skip
LEFT: list[tuple[str, Json, Json, Json]] = [
    ("what the manifest lacks", {"f:paused": {}}, {"port": 1}, {"port": 1, "paused": True}),
    ("one of two fields", {"f:port": {}, "f:paused": {}}, {"port": 1}, {"port": 2, "paused": True}),
    ("the same value: both would own it", {"f:port": {}}, {"port": 1}, {"port": 1}),
    ("the same list", {"f:args": {}}, {"args": ["a"]}, {"args": ["a"]}),
    ("an item that was added", item("side", IMAGE), {"containers": [{"name": "a", "image": "x"}]},
     {"containers": [{"name": "a", "image": "x"}, {"name": "side", "image": "y"}]}),
    ("the item itself", item("a", {".": {}, **IMAGE}), {"containers": [{"name": "a", "image": "x"}]},
     {"containers": [{"name": "a", "image": "y"}]}),
    ("the map itself", {"f:limits": {".": {}, "f:cpu": {}}}, {"limits": {"cpu": 1}}, {"limits": {"cpu": 2}}),
    ("a map that is ours no more", {"f:affinity": {".": {}}}, {"affinity": {"a": 1}}, {"affinity": {}}),
    ("a member of a set", {"f:modes": {'v:"a"': {}}}, {"modes": ["a"]}, {"modes": ["a", "b"]}),
    ("a position in a list", {"f:modes": {"i:0": {}}}, {"modes": ["a"]}, {"modes": ["b"]}),
    ("null in the object", {"f:port": {}}, {"port": 1}, {"port": None}),
    ("null in the manifest", {"f:port": {}}, {"port": None}, {"port": 1}),
    ("a field that is gone", {"f:port": {}}, {"port": 1}, {}),
    ("another shape", {"f:affinity": {"f:a": {}}}, {"affinity": ["a"]}, {"affinity": {"a": 1}}),
    ("a restart beside what the manifest lacks", {"f:template": {"f:metadata": {"f:annotations": RESTART_MARK}},
     "f:paused": {}}, {"port": 1}, {"paused": True}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "spec", "stored"), [row[1:] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_force_takes(fields: Json, spec: Json, stored: Json) -> None:
    assert forced_apply_suffices({"spec": spec}, owned(fields, stored))


@pytest.mark.parametrize(("fields", "spec", "stored"), [row[1:] for row in LEFT], ids=[row[0] for row in LEFT])
def test_force_leaves(fields: Json, spec: Json, stored: Json) -> None:
    assert not forced_apply_suffices({"spec": spec}, owned(fields, stored))


def test_every_manager_must_be_covered() -> None:
    body = owned({"f:port": {}}, {"port": 2, "paused": True})
    body["metadata"]["managedFields"] += owned({"f:paused": {}}, {})["metadata"]["managedFields"]

    assert not forced_apply_suffices({"spec": {"port": 1}}, body)


def test_fields_of_controllers_are_ignored() -> None:
    volume = owned({"f:volumeName": {}}, {"volumeName": "pv-1"}, manager="kube-controller-manager")
    scale = owned({"f:replicas": {}}, {"replicas": 5}, subresource="scale")

    assert forced_apply_suffices({"spec": {}}, volume)
    assert forced_apply_suffices({"spec": {}}, scale)


@pytest.mark.parametrize(
    ("edit", "suffices"),
    [("image-edited", True), ("variable-added", False), ("sidecar-added", False), ("paused", False)],
)
def test_edits_of_kubectl_in_a_real_object(edit: str, suffices: bool) -> None:
    manifest = next(body for body in record_live.children("smallest", "default") if body["kind"] == "Deployment")

    assert forced_apply_suffices(manifest, live(f"edit-{edit}")) == suffices


def test_restart_does_not_protect_an_edit() -> None:
    manifest = next(body for body in record_live.children("smallest", "default") if body["kind"] == "Deployment")
    body, edit = live("edit-image-edited"), live("edit-restarted")
    marks = [entry for entry in edit["metadata"]["managedFields"] if entry["manager"] == "kubectl-rollout"]
    (mark,) = marks
    (image,) = [entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "kubectl-set"]
    both = copy.deepcopy(image)
    both["fieldsV1"]["f:spec"]["f:template"] |= {"f:metadata": mark["fieldsV1"]["f:spec"]["f:template"]["f:metadata"]}
    body["metadata"]["managedFields"] = [both]

    assert forced_apply_suffices(manifest, body)


@pytest.mark.parametrize("edit", ["untouched", "scaled", "restarted", "labelled"])
def test_allowed_writers_are_not_foreign(edit: str) -> None:
    """Replicas are compared by value, a person requests a restart, and any writer may add labels."""
    assert foreign_entries(live(f"edit-{edit}")) == []


@pytest.mark.parametrize(
    ("edit", "manager"),
    [
        ("image-edited", "kubectl-set"),
        ("variable-added", "kubectl-set"),
        ("sidecar-added", "kubectl-patch"),
        ("paused", "kubectl-rollout"),
    ],
)
def test_other_writers_of_the_spec_are_foreign(edit: str, manager: str) -> None:
    assert [entry["manager"] for entry in foreign_entries(live(f"edit-{edit}"))] == [manager]


def test_restart_with_another_edit_is_foreign() -> None:
    body = live("edit-restarted")
    (entry,) = [entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "kubectl-rollout"]
    entry["fieldsV1"]["f:spec"]["f:paused"] = {}

    assert foreign_entries(body) == [entry]
    assert RESTART_FIELD in json.dumps(entry)


def restored_claim(**more: Json) -> Json:
    """Return a claim that a backup restored together with its volume."""
    entry = {"manager": "restorer", "operation": "Update", "fieldsV1": {"f:spec": {"f:volumeName": {}, **more}}}
    return {"metadata": {"managedFields": [entry]}, "spec": {"volumeName": "pv-1"}}


def test_volume_of_a_restored_claim_is_not_foreign() -> None:
    """Kubernetes refuses to remove the volume."""
    assert foreign_entries(restored_claim()) == []


def test_adopting_a_restored_claim_leaves_its_volume_without_an_owner() -> None:
    (own,) = adopted_managed_fields(restored_claim(**{"f:resources": {"f:requests": {"f:storage": {}}}}))

    assert own["fieldsV1"] == {"f:spec": {"f:resources": {"f:requests": {"f:storage": {}}}}}


def test_manager_of_the_ownership_transfer_is_not_foreign() -> None:
    """Otherwise each reconcile would adopt the field and transfer it again."""
    entry = {"manager": OWNERSHIP_TRANSFER_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}

    assert foreign_entries({"metadata": {"managedFields": [entry]}}) == []


@pytest.mark.parametrize("edit", ["image-edited", "variable-added", "sidecar-added", "paused"])
def test_adopting_leaves_nothing_foreign(edit: str) -> None:
    body = live(f"edit-{edit}")
    foreign = foreign_entries(body)[0]

    adopted = adopted_managed_fields(body)
    (own,) = [entry for entry in adopted if entry["manager"] == "vllm-operator"]

    assert foreign_entries({"metadata": {"managedFields": adopted}}) == []
    assert len(adopted) == len(body["metadata"]["managedFields"]) - 1
    assert own["operation"] == "Apply"
    assert covers(own["fieldsV1"]["f:spec"], foreign["fieldsV1"]["f:spec"])


def test_adopting_leaves_the_annotation_of_a_restart_to_its_writer() -> None:
    """kubectl keeps one entry for all its rollout commands; without the annotation the pods would restart again."""
    body = live("edit-restarted")
    (entry,) = [entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "kubectl-rollout"]
    restarted = json.loads(json.dumps(entry))
    entry["fieldsV1"]["f:spec"]["f:paused"] = {}

    adopted = adopted_managed_fields(body)
    (own,) = [entry for entry in adopted if entry["manager"] == "vllm-operator"]

    assert restarted in adopted
    assert "f:paused" in own["fieldsV1"]["f:spec"]
    assert RESTART_FIELD not in json.dumps(own)
    assert foreign_entries({"metadata": {"managedFields": adopted}}) == []


def covers(whole: Json, part: Json) -> bool:
    """Return whether a field set holds another."""
    return all(name in whole and covers(whole[name], below) for name, below in part.items())


def test_adopting_keeps_the_operators_fields() -> None:
    body = live("edit-sidecar-added")
    (before,) = [entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "vllm-operator"]
    (after,) = [entry for entry in adopted_managed_fields(body) if entry["manager"] == "vllm-operator"]

    assert covers(after["fieldsV1"], before["fieldsV1"])


def test_adopting_leaves_the_status_to_its_controllers() -> None:
    adopted = adopted_managed_fields(live("edit-image-edited"))

    assert [entry["manager"] for entry in adopted if entry.get("subresource") == "status"] == [
        "kube-controller-manager"
    ]


def test_adopting_before_the_first_apply_makes_the_operator_the_owner() -> None:
    edit = {"manager": "velero", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {"f:a": {}}}}

    assert adopted_managed_fields({"metadata": {"managedFields": [edit]}}) == [
        {**edit, "manager": "vllm-operator", "operation": "Apply"}
    ]


def test_adopting_without_foreign_fields_changes_nothing() -> None:
    body = live("edit-untouched")

    assert adopted_managed_fields(body) == body["metadata"]["managedFields"]
    assert adopted_managed_fields({"metadata": {}}) == []
