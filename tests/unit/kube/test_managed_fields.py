"""Whether one apply by force undoes an edit, for every shape that managed fields have."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.helpers import record_live
from vllm_operator.kube.managed_fields import forced_apply_suffices

Json = dict[str, Any]
IMAGE: Json = {"f:image": {}}
RESTART_MARK: Json = {"f:kubectl.kubernetes.io/restartedAt": {}}


def live(name: str) -> Json:
    body: Json = json.loads((record_live.FOLDER / f"{name}.json").read_text())
    return body


def owned(fields: Json, spec: Json, **entry: Any) -> Json:
    """An object with this spec, a part of which kubectl owns."""
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": fields}, **entry}
    return {"metadata": {"managedFields": [edit]}, "spec": spec}


def item(name: str, value: Json) -> Json:
    """Fields of one container."""
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


def test_what_controllers_own_is_not_looked_at() -> None:
    volume = owned({"f:volumeName": {}}, {"volumeName": "pv-1"}, manager="kube-controller-manager")
    scale = owned({"f:replicas": {}}, {"replicas": 5}, subresource="scale")

    assert forced_apply_suffices({"spec": {}}, volume)
    assert forced_apply_suffices({"spec": {}}, scale)


@pytest.mark.parametrize(
    ("edit", "suffices"),
    [("image-edited", True), ("variable-added", False), ("sidecar-added", False), ("paused", False)],
)
def test_what_kubectl_leaves_behind_in_a_real_object(edit: str, suffices: bool) -> None:
    manifest = next(body for body in record_live.children("smallest", "default") if body["kind"] == "Deployment")

    assert forced_apply_suffices(manifest, live(f"edit-{edit}")) == suffices


def test_restart_does_not_keep_an_edit_from_being_taken() -> None:
    manifest = next(body for body in record_live.children("smallest", "default") if body["kind"] == "Deployment")
    body, edit = live("edit-image-edited"), live("edit-restarted")
    marks = [entry for entry in edit["metadata"]["managedFields"] if entry["manager"] == "kubectl-rollout"]
    (mark,) = marks
    (image,) = [entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "kubectl-set"]
    both = copy.deepcopy(image)
    both["fieldsV1"]["f:spec"]["f:template"] |= {"f:metadata": mark["fieldsV1"]["f:spec"]["f:template"]["f:metadata"]}
    body["metadata"]["managedFields"] = [both]

    assert forced_apply_suffices(manifest, body)
