"""The minimal repair loop writes what the operator applied, and answers what the bench causes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tools.bench import minimal_repair
from tools.bench.latency import EDITED

PORT = {"port": 80, "protocol": "TCP", "targetPort": "http"}
APPLIED = {
    "f:metadata": {
        "f:labels": {"f:app": {}},
        "f:annotations": {".": {}, "f:hash": {}},
        "f:ownerReferences": {'k:{"uid":"o"}': {}},
    },
    "f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:targetPort": {}}}},
}


def _entry(operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": "vllm-operator", "operation": operation, "fieldsV1": fields}


def test_minimal_repair_writes_what_the_operator_applied_and_nothing_else() -> None:
    service = {
        "metadata": {
            "name": "s",
            "namespace": "n",
            "uid": "u",
            "labels": {"app": "s"},
            "annotations": {"hash": "1", "of": "another"},
            "ownerReferences": [{"kind": "VLLMServer", "uid": "o"}],
            "managedFields": [_entry("Update", {"f:spec": {"f:type": {}}}), _entry("Apply", APPLIED)],
        },
        "spec": {"clusterIP": "10.0.0.1", "type": "ClusterIP", "ports": [PORT, {**PORT, "port": 9}]},
        "status": {},
    }
    bodies = minimal_repair.recorded({"apiVersion": "v1", "kind": "ServiceList", "items": [service]})
    metadata: dict[str, Any] = {"name": "s", "namespace": "n", "labels": {"app": "s"}, "annotations": {"hash": "1"}}
    metadata["ownerReferences"] = [{"kind": "VLLMServer", "uid": "o"}]
    spec = {"ports": [{"port": 80, "targetPort": "http"}]}
    assert orjson.loads(bodies["s"]) == {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "event", "deadline", "is_asked"),
    [
        ("Service", "DELETED", None, True),
        ("Service", "ADDED", None, False),
        ("Deployment", "MODIFIED", EDITED, True),
        ("Deployment", "MODIFIED", 600, False),
    ],
)
def test_minimal_repair_answers_the_events_of_the_bench(
    kind: str, event: str, deadline: int | None, is_asked: bool
) -> None:
    spec = {"progressDeadlineSeconds": deadline}
    assert minimal_repair.asks({"type": event, "object": {"kind": kind, "spec": spec}}) is is_asked
