"""Status inputs of a server, and short ways to read the status that they give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.helpers.pods import deployment
from vllm_operator.api.problem import Problem
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.assessment import assess
from vllm_operator.status.build import build_status
from vllm_operator.status.inputs import StatusInputs

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SERVING = ReplicaHealth(
    reason="Serving",
    served_models=("mistral-7b",),
    version="0.32.0",
    max_model_len=8192,
    kv_cache_tokens=412_000,
    concurrency=50,
)
REFUSED = ReplicaHealth(reason="ConnectionRefused", message="port 8000 refuses connections")
NOT_PROBED = ReplicaHealth()
MISSING_SECRET = Problem("SecretNotFound", "spec.model.tokenSecretRef: Secret hf does not exist: create it")


def inputs(*pods: Mapping[str, Any], health: Mapping[str, ReplicaHealth] | None = None, **changes: Any) -> StatusInputs:
    """Return the status inputs of a server with these pods, all of which serve unless `health` says otherwise."""
    wanted = changes.pop("wanted", len(pods))
    names = [pod["metadata"]["name"] for pod in pods]
    snapshot = Snapshot(
        deployment=changes.pop("deployment", deployment(wanted)),
        claim=changes.pop("claim", None),
        autoscaler=changes.pop("autoscaler", None),
        scaled_object=changes.pop("scaled_object", None),
        pods=pods,
    )
    defaults: dict[str, Any] = {
        "generation": 7,
        "previous": {},
        "problems": (),
        "notes": (),
        "selector": "app.kubernetes.io/instance=mistral",
        "endpoint": "http://mistral.llm.svc",
        "paused": False,
        "autoscaling": False,
        "cache_claim": None,
        "downloads": True,
        "missing_crds": (),
        "monitoring": False,
        "now": NOW,
    }
    probed = dict.fromkeys(names, SERVING) | dict(health or {})
    return StatusInputs(**(defaults | changes), snapshot=snapshot, health=probed)


def status_of(inputs: StatusInputs) -> dict[str, Any]:
    """Return the status that these inputs give."""
    return build_status(assess(inputs))


def conditions(status: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the conditions by type."""
    return {entry["type"]: entry for entry in status["conditions"]}


def condition_of(status: Mapping[str, Any], kind: str) -> tuple[str, str]:
    """Return status and reason of one condition."""
    entry = conditions(status)[kind]
    return entry["status"], entry["reason"]


def replica_of(body: Mapping[str, Any], health: ReplicaHealth = NOT_PROBED, **changes: Any) -> dict[str, Any]:
    """Return the entry of `replicaStatuses` for the only pod of a server."""
    (entry,) = status_of(inputs(body, health={body["metadata"]["name"]: health}, **changes))["replicaStatuses"]
    assert isinstance(entry, dict)
    return entry


def state_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return phase and reason of an entry of `replicaStatuses`."""
    return entry["phase"], entry["reason"]
