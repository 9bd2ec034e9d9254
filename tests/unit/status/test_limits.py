"""A status that the API server accepts, whatever replicas and Kubernetes report: checked against the CRD."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.paths import REPOSITORY
from tests.helpers.pods import ready_pod
from tests.helpers.random_status_inputs import situations
from tests.helpers.status_inputs import SERVING, inputs, status_of
from vllm_operator.kube.codec import to_json
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.limits import MAX_ITEMS, MAX_TEXT_LENGTH, within_limits

Json = dict[str, Any]
TYPES: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "object": (dict,), "array": (list,)}


def schema() -> Json:
    crd = yaml.safe_load((REPOSITORY / "crds" / "vllmserver.yaml").read_text())
    found = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert isinstance(found, dict)
    return found


SCHEMA = schema()


def violations(value: Any, schema: Json, path: str = "status") -> list[str]:
    """Return the paths at which the API server would refuse a value."""
    if not isinstance(value, TYPES[schema["type"]]) or isinstance(value, bool):
        return [f"{path}: type"]
    if isinstance(value, int):
        return [] if -(2**63) <= value < 2**63 else [f"{path}: int64"]
    if isinstance(value, str):
        if value not in schema.get("enum", [value]):
            return [f"{path}: enum"]
        return [f"{path}: length"] if len(value) > schema.get("maxLength", len(value)) else []
    if isinstance(value, list):
        found = [f"{path}: items"] if len(value) > schema.get("maxItems", len(value)) else []
        return found + [each for item in value for each in violations(item, schema["items"], f"{path}[]")]
    found = [f"{path}.{name}: required" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        known = schema["properties"].get(name)
        found += violations(item, known, f"{path}.{name}") if known else [f"{path}.{name}: unknown"]
    return found


numbers = st.none() | st.integers(-(2**70), 2**70)
names = st.text(max_size=4) | st.sampled_from(["\ud800", "x" * 40_000])


@st.composite
def hostile(draw: st.DrawFn) -> StatusInputs:
    """Return the inputs of a server whose replicas report numbers and names of any size."""
    found = draw(situations())
    health = {
        pod: ReplicaHealth(
            one.reason,
            draw(names),
            tuple(draw(st.lists(names, max_size=80))),
            draw(st.none() | names),
            draw(numbers),
            draw(numbers),
            draw(numbers),
        )
        for pod, one in found.health.items()
    }
    deployment = found.snapshot.deployment
    if deployment is not None and isinstance(deployment.get("status"), dict):
        counts = {field: draw(numbers) for field in ("replicas", "readyReplicas", "updatedReplicas")}
        deployment = {**deployment, "status": {**deployment["status"], **counts}}
    return replace(found, health=health, snapshot=replace(found.snapshot, deployment=deployment))


@given(hostile())
def test_status_of_any_situation_is_accepted(found: StatusInputs) -> None:
    status = status_of(found)
    assert violations(status, SCHEMA) == []
    to_json(status)


def test_number_that_is_too_large_is_left_out() -> None:
    health = replace(SERVING, max_model_len=2**63, kv_cache_tokens=2**63 - 1, concurrency=2**70)
    status = status_of(inputs(ready_pod("a"), health={"a": health}))
    assert status["capacity"] == {"kvCacheTokens": 2**63 - 1}


def test_capacity_without_a_number_is_left_out() -> None:
    health = replace(SERVING, max_model_len=2**64, kv_cache_tokens=2**64, concurrency=2**64)
    assert "capacity" not in status_of(inputs(ready_pod("a"), health={"a": health}))


def test_lists_and_texts_are_cut_to_the_limits_of_the_crd() -> None:
    long = {field: ["x" * 40_000] * 200 for field in ("servedModels", "stalledRestarts")}
    status = within_limits({**long, "message": "x" * 40_000})
    assert violations(status, SCHEMA) == []
    assert (len(status["message"]), len(status["servedModels"])) == (MAX_TEXT_LENGTH, 64)


@pytest.mark.parametrize("field", MAX_ITEMS)
def test_limits_are_those_of_the_crd(field: str) -> None:
    assert SCHEMA["properties"][field]["maxItems"] == MAX_ITEMS[field]
