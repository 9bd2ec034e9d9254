"""A manifest is judged as API server and operator judge it, in this order."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.helpers import specs
from tests.helpers.pod_templates import ALLOWED, REFUSED
from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.offline import cel_rules
from vllm_operator.offline.judgement import CEL_MISSING, PLACEHOLDER_UID, Judgement, is_foreign, judge
from vllm_operator.offline.manifest_file import Document


def verdict(spec: Any = None, pod_template: str = "free", **body: Any) -> Judgement:
    whole = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "mistral"}, **body}
    document = Document({**whole, "spec": {"model": specs.MODEL} if spec is None else spec})
    return judge(document, pod_template=pod_template)


def found(judgement: Judgement) -> list[tuple[str, str]]:
    return [(problem.field, problem.reason) for problem in judgement.problems]


def test_smallest_manifest_becomes_objects_with_defaults() -> None:
    judgement = verdict()

    assert judgement.accepted
    assert [body["kind"] for body in judgement.objects] == ["Service", "Deployment", "PodMonitor", "PrometheusRule"]
    assert {body["metadata"]["namespace"] for body in judgement.objects} == {"default"}
    assert judgement.objects[0]["metadata"]["ownerReferences"][0]["uid"] == PLACEHOLDER_UID


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"model": specs.MODEL, "imag": "x"}, "spec.imag", "UnknownField"),
        ({"model": specs.MODEL, "replicas": "1"}, "spec.replicas", "FieldValueTypeInvalid"),
        ({}, "spec.model", "FieldValueRequired"),
        ({"model": {"uri": "s3://bucket/x"}}, "spec.model.uri", "FieldValueInvalid"),
        (
            {"model": specs.MODEL, "rollout": {"maxSurge": "0%", "maxUnavailable": 0}},
            "spec.rollout.maxUnavailable",
            "FieldValueInvalid",
        ),
        (
            {"model": specs.MODEL, "engine": {"extraArgs": ["--no-such-flag"]}},
            "spec.engine.extraArgs[0]",
            "UnknownFlag",
        ),
        (
            {"model": specs.MODEL, "podTemplate": {"spec": {"containers": [{}]}}},
            "spec.podTemplate.spec.containers[0]",
            "InvalidSpec",
        ),
    ],
)
def test_problem_has_the_field_and_the_reason_of_its_judge(spec: Any, field: str, reason: str) -> None:
    judgement = verdict(spec)

    assert found(judgement) == [(field, reason)]
    assert judgement.objects == ()
    assert judgement.problems[0].message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"kind": "VLLMserver"}, ["kind"]),
        ({"apiVersion": "vllm-operator.dev/v1"}, ["apiVersion"]),
        ({"metadata": {"name": "A"}}, ["metadata.name"]),
        ({"metadata": {"name": "1a"}}, [""]),
        ({"metadata": 1}, ["metadata"]),
        ({"spce": {}}, ["spce"]),
    ],
)
def test_form_of_the_object_is_judged(body: Any, fields: list[str]) -> None:
    assert [field for field, _ in found(verdict(**body))] == fields


def test_document_that_is_no_object_is_refused() -> None:
    assert found(judge(Document("text"))) == [("", "NoObject")]


def test_key_that_is_written_twice_is_refused() -> None:
    judgement = judge(Document({"apiVersion": API_VERSION, "kind": KIND}, ["image"]))

    assert found(judgement) == [("image", "DuplicateField")]


def test_stored_object_is_judged_without_its_status() -> None:
    assert verdict(status={"observedGeneration": 3, "conditions": []}).accepted


def test_missing_cel_library_is_noted_and_the_rest_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    cel_rules._program.cache_clear()
    monkeypatch.setitem(sys.modules, "cel", None)

    assert verdict().notes == (CEL_MISSING,)
    assert verdict().accepted
    assert found(verdict({"model": specs.MODEL, "imag": 1})) == [("spec.imag", "UnknownField")]


def test_notes_name_what_must_exist_in_the_cluster() -> None:
    judgement = verdict({"model": {**specs.MODEL, "tokenSecretRef": {"name": "hf"}}, "image": "registry/private"})

    assert any("hf with the key token must exist" in note for note in judgement.notes)
    assert any("spec.version" in note for note in judgement.notes)


def test_generated_name_is_judged() -> None:
    assert verdict(metadata={"generateName": "a-"}).accepted


def test_objects_of_other_apis_are_foreign() -> None:
    assert is_foreign({"apiVersion": "v1", "kind": "Secret"})
    assert not is_foreign({"apiVersion": "v1", "kind": KIND})
    assert not is_foreign({"apiVersion": "vllm-operator.dev/v9", "kind": "VLLMServers"})
    assert not is_foreign("text")


def test_part_that_the_restricted_mode_refuses_is_noted() -> None:
    judgement = verdict({"model": specs.MODEL, "podTemplate": {"spec": {"hostNetwork": True}}})

    assert judgement.accepted
    assert any(
        "--pod-template=restricted refuses this: spec.podTemplate.spec.hostNetwork" in note for note in judgement.notes
    )


@pytest.mark.parametrize("name", ALLOWED)
def test_spec_without_further_rights_is_accepted_in_both_modes(name: str) -> None:
    spec = {"model": specs.MODEL, **ALLOWED[name]}

    assert verdict(spec, "restricted") == verdict(spec, "free")


@pytest.mark.parametrize("name", REFUSED)
def test_spec_with_further_rights_is_refused_in_the_restricted_mode(name: str) -> None:
    judgement = verdict({"model": specs.MODEL, **REFUSED[name]}, "restricted")

    assert not judgement.accepted
    first = judgement.problems[0]
    assert first.reason == "PodTemplateRestricted"
    assert first.message.startswith(f"{first.field}: ")
    assert "render with --pod-template=free" in first.message


def test_rights_are_judged_next_to_other_mistakes() -> None:
    spec = {"model": specs.MODEL, "engine": {"extraArgs": ["--no-such-flag"], "command": ["sh"]}}

    assert found(verdict(spec, "restricted")) == [
        ("spec.engine.command", "PodTemplateRestricted"),
        ("spec.engine.extraArgs[0]", "UnknownFlag"),
    ]


def test_label_that_an_operator_may_want_on_a_secret_is_noted() -> None:
    judgement = verdict({"model": {**specs.MODEL, "tokenSecretRef": {"name": "hf"}}})

    assert any("refuses the Secret hf without the label" in note for note in judgement.notes)
