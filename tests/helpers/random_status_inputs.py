"""Random status inputs: pods and Deployments of which fields are missing or of another shape."""

from __future__ import annotations

import json
from typing import Any, get_args

from hypothesis import strategies as st

from tests.helpers.pods import (
    OLD_REVISION,
    condition,
    container,
    crashed_pod,
    deleted_pod,
    deployment,
    loading_pod,
    pod,
    ready_pod,
    rolling,
    scheduling_pod,
    termination,
    waiting_pod,
    with_container,
)
from tests.helpers.status_inputs import MISSING_SECRET, inputs
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.diagnosis.event_reasons import EVENT_REASONS
from vllm_operator.diagnosis.startup_stage import STAGES
from vllm_operator.probing.health import HealthReason, ReplicaHealth
from vllm_operator.status.inputs import StatusInputs

texts = st.text(max_size=40)
scalars = (
    st.none() | st.booleans() | st.integers(-10, 10**12) | texts | st.sampled_from(["True", "False", "2026-03-02"])
)
odd = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=5
)

PODS = [
    pod(),
    scheduling_pod(),
    waiting_pod("ImagePullBackOff", "not found"),
    waiting_pod("CreateContainerConfigError", 'secret "hf" not found'),
    loading_pod(),
    ready_pod(),
    ready_pod(revision=OLD_REVISION),
    deleted_pod(),
    crashed_pod(termination(137, reason="OOMKilled")),
    with_container(pod(), container({"running": {}}, {"terminated": termination(1, "ValueError: x")}, restarts=1)),
]
DEPLOYMENTS = [
    deployment(2),
    deployment(0),
    deployment(3, updatedReplicas=1, conditions=[rolling()]),
    deployment(3, updatedReplicas=1, conditions=[rolling("ProgressDeadlineExceeded")]),
    deployment(3, conditions=[condition("ReplicaFailure", "True", "", "FailedCreate", "exceeded quota")]),
]


@st.composite
def spoiled(draw: st.DrawFn, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one of `bodies` in which some fields are missing or of another shape."""
    body = json.loads(json.dumps(draw(st.sampled_from(bodies))))
    for _ in range(draw(st.integers(0, 3))):
        _spoil(draw, body)
    return body


def _spoil(draw: st.DrawFn, node: Any) -> None:
    """Walk a few steps down and replace or remove what is there."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and draw(st.booleans()):
            node = node[key]
            continue
        if draw(st.booleans()):
            node[key] = draw(odd)
        else:
            del node[key]
        return


@st.composite
def situations(draw: st.DrawFn) -> StatusInputs:
    """Return the inputs of a server in any situation."""
    bodies = draw(st.lists(spoiled(PODS), max_size=4))
    for index, body in enumerate(bodies):
        # The API server knows no two pods of one name.
        body["metadata"] = {**body["metadata"]} if isinstance(body.get("metadata"), dict) else {}
        body["metadata"]["name"] = f"mistral-{index}"
    health = {
        f"mistral-{index}": ReplicaHealth(
            draw(st.sampled_from(get_args(HealthReason))), draw(texts), version=draw(st.none() | texts)
        )
        for index in range(len(bodies))
    }
    uids = [uid for body in bodies if isinstance(uid := body["metadata"].get("uid"), str)] or [""]
    reasons = st.sampled_from([*sorted(STAGES), *sorted(EVENT_REASONS), "Odd", ""])
    return inputs(
        *bodies,
        health=health,
        deployment=draw(st.none() | spoiled(DEPLOYMENTS)),
        claim=draw(st.none() | st.dictionaries(texts, odd, max_size=2)),
        autoscaler=draw(st.none() | st.just({"status": {"conditions": [draw(odd)]}})),
        problems=draw(st.sampled_from([(), (MISSING_SECRET,)])),
        paused=draw(st.booleans()),
        autoscaling=draw(st.booleans()),
        monitoring=draw(st.booleans()),
        cache_claim=draw(st.sampled_from([None, "models"])),
        wanted_replicas=draw(st.none() | st.integers(0, 3)),
        lookup_results=draw(st.dictionaries(st.sampled_from(uids), st.builds(Diagnosis, reasons, texts), max_size=2)),
    )
