"""Strategic merge over the pod template.

The expected values are those of `kubectl patch --type=strategic --local`, except that new items follow the old ones.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vllm_operator.desired.rendering.strategic_merge import MERGE_KEYS, strategic_merge
from vllm_operator.errors import InvalidSpecError

BASE: dict[str, Any] = {
    "containers": [
        {
            "name": "vllm",
            "image": "a",
            "args": ["--x"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"name": "http", "containerPort": 8000}],
            "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
            "resources": {"limits": {"cpu": "1"}},
        }
    ],
    "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}],
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "nodeSelector": {"a": "1"},
    "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
}
CONTAINER = BASE["containers"][0]


def vllm(**fields: Any) -> dict[str, Any]:
    """Return a patch of the vLLM container."""
    return {"containers": [{"name": "vllm", **fields}]}


def changed(**fields: Any) -> dict[str, Any]:
    """Return the vLLM container with these fields replaced."""
    return {"containers": [{**CONTAINER, **fields}]}


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a new field is added", {"hostNetwork": True}, {"hostNetwork": True}),
    ("a container is merged by name", vllm(image="b"), changed(image="b")),
    (
        "a container of another name is added",
        {"containers": [{"name": "proxy", "image": "p"}]},
        {"containers": [CONTAINER, {"name": "proxy", "image": "p"}]},
    ),
    (
        "variables are merged by name",
        vllm(env=[{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]),
        changed(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]),
    ),
    (
        "a variable is deleted by directive",
        vllm(env=[{"name": "A", "$patch": "delete"}]),
        changed(env=[{"name": "B", "value": "2"}]),
    ),
    ("arguments are replaced as a whole", vllm(args=["--y"]), changed(args=["--y"])),
    ("tolerations are replaced as a whole", {"tolerations": [{"key": "x"}]}, {"tolerations": [{"key": "x"}]}),
    (
        "mounts are merged by path",
        vllm(volumeMounts=[{"mountPath": "/dev/shm", "name": "other"}, {"mountPath": "/x", "name": "x"}]),
        changed(volumeMounts=[{"mountPath": "/dev/shm", "name": "other"}, {"mountPath": "/x", "name": "x"}]),
    ),
    (
        "ports are merged by number",
        vllm(ports=[{"containerPort": 8000, "name": "api"}, {"containerPort": 9000}]),
        changed(ports=[{"containerPort": 8000, "name": "api"}, {"containerPort": 9000}]),
    ),
    (
        "objects are merged by key",
        vllm(resources={"limits": {"memory": "1Gi"}}),
        changed(resources={"limits": {"cpu": "1", "memory": "1Gi"}}),
    ),
    (
        "null removes a key",
        {"securityContext": {"runAsUser": None}},
        {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
    ),
    (
        "an object is replaced by directive",
        {"nodeSelector": {"$patch": "replace", "b": "2"}},
        {"nodeSelector": {"b": "2"}},
    ),
    (
        "a list is replaced by directive",
        {"volumes": [{"$patch": "replace"}, {"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "emptyDir": {}}]},
    ),
    (
        "an item is replaced by directive",
        {"volumes": [{"$patch": "replace", "name": "shm", "hostPath": {"path": "/x"}}]},
        {"volumes": [{"name": "shm", "hostPath": {"path": "/x"}}]},
    ),
    (
        "the directive to merge is the default",
        {"nodeSelector": {"$patch": "merge", "b": "2"}},
        {"nodeSelector": {"a": "1", "b": "2"}},
    ),
    ("an empty patch changes nothing", {}, {}),
]


@pytest.mark.parametrize(("patch", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_merge(patch: dict[str, Any], expected: dict[str, Any]) -> None:
    assert strategic_merge(BASE, patch, "spec.podTemplate") == {**BASE, **expected}


@pytest.mark.parametrize("patch", [{"nodeSelector": None}, {"nodeSelector": {"$patch": "delete"}}])
def test_key_is_removed(patch: dict[str, Any]) -> None:
    merged = strategic_merge(BASE, patch, "spec.podTemplate")

    assert merged == {key: value for key, value in BASE.items() if key != "nodeSelector"}


@pytest.mark.parametrize("patch", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_neither_side_is_touched(patch: dict[str, Any]) -> None:
    base, given = copy.deepcopy(BASE), copy.deepcopy(patch)

    merged = strategic_merge(base, given, "spec.podTemplate")
    merged["containers"].append({"name": "later"})

    assert given == patch
    assert {**base, "containers": base["containers"][:1]} == BASE


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("an item without its key", {"containers": [{"image": "b"}]}, "spec.podTemplate.containers[0]"),
    ("a key that is no name", vllm(env=[{"name": {"a": 1}}]), "spec.podTemplate.containers[0].env[0]"),
    ("an item that is no object", {"volumes": ["shm"]}, "spec.podTemplate.volumes[0]"),
    ("an unknown directive", {"nodeSelector": {"$patch": "x"}}, "spec.podTemplate.nodeSelector.$patch"),
    (
        "a directive of kubectl's own",
        {"$setElementOrder/containers": []},
        "spec.podTemplate.$setElementOrder/containers",
    ),
]


@pytest.mark.parametrize(("patch", "field"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused_by_path(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        strategic_merge(BASE, patch, "spec.podTemplate")

    assert caught.value.field == field


@pytest.mark.parametrize("patch", [{"containers": {}}, {"containers": "x"}, {"nodeSelector": []}, {"volumes": 1}])
def test_value_of_another_type_replaces_the_old_one(patch: dict[str, Any]) -> None:
    """The API server refuses the result, with its own message."""
    merged = strategic_merge(BASE, patch, "spec.podTemplate")

    assert merged.keys() == BASE.keys()


def test_merge_keys_are_those_of_the_pod_api() -> None:
    assert {MERGE_KEYS["ports"], MERGE_KEYS["volumeMounts"], MERGE_KEYS["hostAliases"]} == {
        "containerPort",
        "mountPath",
        "ip",
    }


@pytest.mark.parametrize("source", [{"hostPath": {"path": "/x"}}, {"nfs": {"server": "a", "path": "/"}}, {"csi": {}}])
def test_source_of_a_volume_replaces_another_one(source: dict[str, Any]) -> None:
    base = {"volumes": [{"name": "a", "emptyDir": {"medium": "Memory"}}, {"name": "b", "emptyDir": {}}]}

    merged = strategic_merge(base, {"volumes": [{"name": "a", **source}]}, "x")

    assert merged["volumes"] == [{"name": "a", **source}, {"name": "b", "emptyDir": {}}]


def test_same_source_of_a_volume_is_merged() -> None:
    base = {"volumes": [{"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]}

    merged = strategic_merge(base, {"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "2Gi"}}]}, "x")

    assert merged["volumes"] == [{"name": "a", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}]


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("startupProbe", {"httpGet": {"path": "/"}, "periodSeconds": 5}, {"exec": {"command": ["true"]}}),
        ("livenessProbe", {"httpGet": {"path": "/"}, "periodSeconds": 5}, {"tcpSocket": {"port": 1}}),
        ("readinessProbe", {"httpGet": {"path": "/"}, "periodSeconds": 5}, {"grpc": {"port": 1}}),
    ],
)
def test_handler_of_a_probe_replaces_another_one(field: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert strategic_merge({field: before}, {field: after}, "x") == {field: {"periodSeconds": 5, **after}}


def test_handler_of_a_hook_replaces_another_one_and_its_deletion_leaves_the_other() -> None:
    base = {"lifecycle": {"preStop": {"sleep": {"seconds": 8}}}}
    patch = {"lifecycle": {"preStop": {"exec": {"command": ["true"]}, "httpGet": None}}}

    assert strategic_merge(base, patch, "x") == {"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}
    assert strategic_merge(base, {"lifecycle": {"preStop": {"exec": None}}}, "x") == base


def test_source_of_a_variable_replaces_its_value() -> None:
    base = {"env": [{"name": "A", "value": "1"}]}
    source = {"fieldRef": {"fieldPath": "status.podIP"}}

    assert strategic_merge(base, {"env": [{"name": "A", "valueFrom": source}]}, "x") == {
        "env": [{"name": "A", "valueFrom": source}]
    }
