"""A pod is kept in short, with all that the operator reads of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vllm_operator.api.names import UNREADABLE
from vllm_operator.informers.entry import PROBED_VARIABLES, Entry
from vllm_operator.informers.pod_fields import needed_pod
from vllm_operator.probing.targets import pod_endpoint

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "a-1",
        "namespace": "llm",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"pod-template-hash": "1"},
        "annotations": {"a": "b" * 1000},
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "deletionTimestamp": "2026-01-01T00:10:00Z",
        "deletionGracePeriodSeconds": 60,
        "ownerReferences": [{"kind": "ReplicaSet", "name": "a", "controller": True}],
        "managedFields": [{"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {"f:containers": {}}}}],
    },
    "spec": {
        "nodeName": "n",
        "volumes": [{"name": "v"}],
        "tolerations": [{"key": "k"}],
        "containers": [
            {
                "name": "vllm",
                "image": "i",
                "args": ["--served-model-name", "m"],
                "ports": [{"name": "http", "containerPort": 9000}],
                "env": [
                    {"name": "HF_TOKEN", "value": "x"},
                    {"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ],
                "resources": {"limits": {"memory": "1Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "hostIP": "10.0.0.2",
        "qosClass": "Burstable",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"name": "vllm", "imageID": "sha256:0", "ready": True, "state": {"running": {"startedAt": "t"}}}
        ],
    },
}


def test_only_what_is_read_is_kept() -> None:
    short = needed_pod(POD, PROBED_VARIABLES)

    assert short["metadata"].keys() == POD["metadata"].keys() - {"annotations", "managedFields"}
    assert short["spec"] == {
        "nodeName": "n",
        "containers": [
            {
                "name": "vllm",
                "image": "i",
                "args": ["--served-model-name", "m"],
                "ports": [{"name": "http", "containerPort": 9000}],
                "env": [POD["spec"]["containers"][0]["env"][1]],
                "resources": {"limits": {"memory": "1Gi"}},
            }
        ],
    }
    assert short["status"].keys() == {"phase", "podIP", "conditions", "containerStatuses"}
    assert short["status"]["containerStatuses"][0].keys() == {"name", "ready", "state"}


def test_probe_target_of_a_cached_pod_is_that_of_the_whole_pod() -> None:
    assert pod_endpoint(Entry.of("Pod", POD).body, ()) == pod_endpoint(POD, ())


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": {}},
        {"metadata": {}, "spec": 7, "status": []},
        {"metadata": {}, "spec": {"containers": [1, {}, {"env": [2, {}], "resources": []}]}},
        {"metadata": {}, "status": {"containerStatuses": "x", "conditions": 3}},
    ],
)
def test_fields_of_any_type_are_let_through(broken: dict[str, Any]) -> None:
    json.dumps(needed_pod(broken, PROBED_VARIABLES))


def test_mark_of_an_unread_pod_stays() -> None:
    assert needed_pod({"metadata": {"name": "a"}, UNREADABLE: "why"}, PROBED_VARIABLES)[UNREADABLE] == "why"
