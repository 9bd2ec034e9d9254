"""Test drift with objects as a real API server stores them (`python -m tests.helpers.record_live`)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import record_live
from vllm_operator.apply.drift import differs

Json = dict[str, Any]


def live(name: str) -> Json:
    body: Json = json.loads((record_live.FOLDER / f"{name}.json").read_text())
    return body


PAIRS = {
    f"{server}-{body['kind'].lower()}": body
    for server in record_live.SERVERS
    for body in record_live.children(server, "default")
}


def as_recorded(manifest: Json) -> Json:
    """Return the manifest without its hash, which the recording lacks too: a changed hash is no drift."""
    recorded = copy.deepcopy(manifest)
    recorded["metadata"]["annotations"].pop("vllm-operator.dev/applied-hash")
    return recorded


@pytest.mark.parametrize("name", PAIRS)
def test_applied_child_does_not_differ(name: str) -> None:
    assert not differs(as_recorded(PAIRS[name]), live(name)), "rendered anew? `python -m tests.helpers.record_live`"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all strings, numbers and booleans."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*path, position))
    else:
        yield path


def other(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    return value + 1000 if isinstance(value, int) else f"7{value}"


@pytest.mark.parametrize("name", PAIRS)
def test_every_changed_field_is_drift(name: str) -> None:
    manifest, stored = as_recorded(PAIRS[name]), live(name)
    unseen = []
    for path in leaves({key: manifest[key] for key in ("metadata", "spec")}):
        changed = copy.deepcopy(manifest)
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = other(place[path[-1]])
        if not differs(changed, stored):
            unseen.append(path)

    assert unseen == []


@pytest.mark.parametrize("name", ["full-deployment", "smallest-deployment", "scaled-horizontalpodautoscaler"])
def test_every_removed_field_is_drift(name: str) -> None:
    manifest, stored = as_recorded(PAIRS[name]), live(name)
    for key in manifest["spec"]:
        cut = {**stored, "spec": {other: value for other, value in stored["spec"].items() if other != key}}
        assert differs(manifest, cut), key


SAME: list[tuple[str, Json, Json]] = [
    ("equal quantities", {"limits": {"cpu": 1}}, {"limits": {"cpu": "1"}}),
    ("quantities in other units", {"requests": {"memory": "1024Mi"}}, {"requests": {"memory": "1Gi"}}),
    ("a fraction of a core", {"limits": {"cpu": 0.5}}, {"limits": {"cpu": "500m"}}),
    ("less than a thousandth, which is rounded up", {"limits": {"cpu": "1.0005"}}, {"limits": {"cpu": "1001m"}}),
    ("a tolerance", {"scaleUp": {"tolerance": "0.05"}}, {"scaleUp": {"tolerance": "50m"}}),
    ("pod overhead", {"overhead": {"cpu": "0.25"}}, {"overhead": {"cpu": "250m"}}),
    ("an empty object that is dropped", {"affinity": {"nodeAffinity": {}}}, {}),
    ("an empty list that is dropped", {"args": []}, {}),
    ("an empty text that is dropped", {"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}),
    ("false that is dropped", {"readOnly": False}, {}),
    ("a default that is filled in", {"ports": [{"name": "a"}]}, {"ports": [{"name": "a", "protocol": "TCP"}]}),
    ("variables in another order", {"env": [{"name": "A"}, {"name": "B"}]}, {"env": [{"name": "B"}, {"name": "A"}]}),
    ("another container beside", {"containers": [{"name": "a"}]}, {"containers": [{"name": "b"}, {"name": "a"}]}),
    ("ports without names", {"ports": [{"containerPort": 1}, {"containerPort": 2}]},
     {"ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2, "protocol": "TCP"}]}),
    ("a whole number as a fraction", {"value": 1}, {"value": 1.0}),
]  # fmt: skip
OTHER: list[tuple[str, Json, Json]] = [
    ("another quantity", {"limits": {"cpu": 1}}, {"limits": {"cpu": "2"}}),
    ("a thousandth more", {"limits": {"cpu": "1"}}, {"limits": {"cpu": "1001m"}}),
    ("a quantity that is gone", {"limits": {"cpu": 1}}, {"limits": {}}),
    ("a text that looks like a quantity elsewhere", {"args": ["1024Mi"]}, {"args": ["1Gi"]}),
    ("one is not true", {"value": 1}, {"value": True}),
    ("a number is not its text", {"containerPort": 80}, {"containerPort": "80"}),
    ("arguments in another order", {"args": ["a", "b"]}, {"args": ["b", "a"]}),
    ("an argument more", {"args": ["a"]}, {"args": ["a", "b"]}),
    ("a list that is cut", {"tolerations": [{"key": "a"}, {"key": "b"}]}, {"tolerations": [{"key": "a"}]}),
    ("a variable that is gone", {"env": [{"name": "A", "value": "1"}]}, {"env": []}),
    ("a port without name that is gone", {"ports": [{"containerPort": 1}, {"containerPort": 2}]},
     {"ports": [{"containerPort": 1}]}),
    ("an object that is a list", {"affinity": {"a": 1}}, {"affinity": [1]}),
    ("a switch that is gone", {"readOnly": True}, {}),
    ("a switch that is gone and was off against the default", {"enableServiceLinks": False}, {}),
    ("a user that is gone and was 0", {"securityContext": {"runAsUser": 0}}, {"securityContext": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "stored"), [row[1:] for row in SAME], ids=[row[0] for row in SAME])
def test_no_drift(manifest: Json, stored: Json) -> None:
    assert not differs(manifest, stored)


@pytest.mark.parametrize(("manifest", "stored"), [row[1:] for row in OTHER], ids=[row[0] for row in OTHER])
def test_drift(manifest: Json, stored: Json) -> None:
    assert differs(manifest, stored)
