"""Test which fields admission changed, and the messages about them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import body
from vllm_operator.apply.admission_changes import (
    MAX_FIELDS,
    REPLICAS,
    WATCHED_LABEL,
    fields_changed_by_admission,
    summarize_admission_changes,
)
from vllm_operator.desired.state import desired_state

Json = dict[str, Any]
MANIFESTS = {manifest.kind: manifest for manifest in desired_state(body(), frozenset()).manifests}
SENT: Json = {
    "metadata": {"labels": {"app.kubernetes.io/managed-by": "vllm-operator"}},
    "spec": {
        "replicas": 1,
        "schedulerName": "",
        "containers": [{"name": "vllm", "image": "vllm:1", "args": ["--model", "m"], "limits": {"memory": "1Gi"}}],
    },
}


def stored(**vllm: Any) -> Json:
    container = {**SENT["spec"]["containers"][0], **vllm}
    return {**SENT, "spec": {**SENT["spec"], "containers": [{"name": "mesh"}, container]}}


@pytest.mark.parametrize(
    ("answer", "fields"),
    [
        (SENT, ()),
        ({**SENT, "spec": {**SENT["spec"], "schedulerName": "default-scheduler"}}, ()),
        ({**SENT, "spec": {**SENT["spec"], "replicas": 3}}, ("spec.replicas",)),
        ({**SENT, "metadata": {"labels": {}}}, (WATCHED_LABEL,)),
        ({**SENT, "metadata": {}}, (WATCHED_LABEL,)),
        (stored(limits={"memory": "1024Mi"}), ()),
        (stored(image="mirror/vllm:1"), ("spec.containers[vllm].image",)),
        (stored(limits={"memory": "2Gi"}), ("spec.containers[vllm].limits",)),
        (stored(args=["--model", "m", "--seed", "1"]), ("spec.containers[vllm].args",)),
        ({**SENT, "spec": {**SENT["spec"], "containers": [{"name": "mesh"}]}}, ("spec.containers[vllm]",)),
    ],
)
def test_changed_fields(answer: Json, fields: tuple[str, ...]) -> None:
    assert fields_changed_by_admission(SENT, answer) == fields


def test_note_on_changed_fields() -> None:
    found = summarize_admission_changes([(MANIFESTS["Deployment"], (REPLICAS,)), (MANIFESTS["Service"], ())])

    assert found.notes == (
        "an admission policy, a webhook or the API server changes Deployment mistral: spec.replicas",
    )
    assert (found.replicas_overridden, found.unlabelled) == (True, False)


def test_note_on_an_unlabelled_child() -> None:
    found = summarize_admission_changes([(MANIFESTS["Service"], (WATCHED_LABEL,))])

    assert "the operator sees further changes only every 30 s" in found.notes[0]
    assert (found.replicas_overridden, found.unlabelled) == (False, True)


def test_many_fields_are_counted() -> None:
    fields = tuple(f"spec.field{number}" for number in range(MAX_FIELDS + 2))

    assert summarize_admission_changes([(MANIFESTS["Service"], fields)]).notes[0].endswith("spec.field4 and 2 more")
