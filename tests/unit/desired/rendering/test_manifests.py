"""Metadata that each child has, and that spec.podTemplate cannot remove."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.specs import MODEL, UID, children, container, manifests, pod_template, server
from vllm_operator.api.names import ANNOTATION_HASH, ANNOTATION_SERVER, recommended_labels, selector_labels
from vllm_operator.desired.children import plan_children
from vllm_operator.desired.rendering import manifests as module
from vllm_operator.desired.rendering.manifests import render_children
from vllm_operator.desired.rendering.templates import environment, template_folder
from vllm_operator.errors import InvalidSpecError, TemplateError

EVERYTHING: dict[str, Any] = {"cache": {"size": "1Gi", "retain": False}, "autoscaling": {"maxReplicas": 2}}
KINDS = list(children(**EVERYTHING))


@pytest.mark.parametrize("kind", KINDS)
def test_each_child_names_its_server(kind: str) -> None:
    metadata = children(**EVERYTHING)[kind]["metadata"]

    assert metadata["namespace"] == "llm"
    assert metadata["labels"].items() >= recommended_labels("mistral").items()
    assert metadata["annotations"][ANNOTATION_SERVER] == "mistral"
    assert [(owner["uid"], owner["controller"]) for owner in metadata["ownerReferences"]] == [(UID, True)]


def test_owners_do_not_block_the_deletion_of_their_server() -> None:
    (owner,) = children()["Service"]["metadata"]["ownerReferences"]

    assert "blockOwnerDeletion" not in owner


@pytest.mark.parametrize("kind", KINDS)
def test_hash_is_the_same_every_time(kind: str) -> None:
    one, other = manifests(server(**EVERYTHING)), manifests(server(**EVERYTHING))

    assert one[kind].hash == other[kind].hash == one[kind].body["metadata"]["annotations"][ANNOTATION_HASH]


def test_hash_changes_with_the_manifest() -> None:
    assert manifests(server())["Service"].hash != manifests(server(service={"port": 81}))["Service"].hash
    assert manifests(server())["Service"].hash == manifests(server(replicas=3))["Service"].hash


def test_pod_template_does_not_carry_the_hash() -> None:
    """Otherwise each change of the Deployment would restart the pods."""
    assert ANNOTATION_HASH not in json.dumps(pod_template())


def test_scaling_and_monitoring_do_not_restart_the_pods() -> None:
    template = pod_template()

    assert pod_template(replicas=5) == template
    assert pod_template(autoscaling={"maxReplicas": 3}) == template
    assert pod_template(rollout={"maxSurge": 1}) == template
    assert manifests(server(), frozenset())["Deployment"].body["spec"]["template"] == template


@pytest.mark.parametrize("labels", [{"app.kubernetes.io/name": "x", "app.kubernetes.io/instance": None}, None, "x", []])
def test_selector_labels_survive_the_overlay(labels: object) -> None:
    template = pod_template(podTemplate={"metadata": {"labels": labels}})

    assert template["metadata"]["labels"].items() >= selector_labels("mistral").items()


def test_labels_are_added_by_the_overlay() -> None:
    template = pod_template(podTemplate={"metadata": {"labels": {"team": "ml"}, "annotations": {"a": "b"}}})

    assert template["metadata"]["labels"]["team"] == "ml"
    assert template["metadata"]["annotations"]["a"] == "b"
    assert template["metadata"]["annotations"]["prometheus.io/scrape"] == "true"


def test_overlay_is_applied_last() -> None:
    overlay = {"spec": {"containers": [{"name": "vllm", "image": "other", "args": ["--all", "mine"]}]}}

    assert container(podTemplate=overlay, image="first")["image"] == "other"
    assert container(podTemplate=overlay)["args"] == ["--all", "mine"]


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": None},
        {"spec": {"containers": None}},
        {"spec": {"containers": {}}},
        {"spec": {"containers": [{"name": "vllm", "$patch": "delete"}]}},
        {"spec": {"containers": [{"$patch": "replace"}, {"name": "other", "image": "x"}]}},
        {"$patch": "replace", "spec": {"containers": ["vllm"]}},
    ],
)
def test_pod_template_without_the_vllm_container_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        pod_template(podTemplate=patch)

    assert caught.value.field == "spec.podTemplate.spec.containers"
    assert "name: vllm" in caught.value.message


def test_overlay_may_replace_the_server_by_another_vllm() -> None:
    patch = {"spec": {"containers": [{"$patch": "replace"}, {"name": "vllm", "image": "x"}]}}

    assert pod_template(podTemplate=patch)["spec"]["containers"] == [{"name": "vllm", "image": "x"}]


HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(HOSTILE, HOSTILE)
def test_hostile_text_is_data_wherever_it_stands(text: str, key: str) -> None:
    found = children(
        model={**MODEL, "servedNames": [f"n{text}"]},
        engine={"chatTemplate": f"t{text}", "extraArgs": [f"e{text}"], "env": [{"name": "TEXT", "value": text}]},
        service={"annotations": {key: text}},
        scheduling={"affinity": {key: [text]}},
        security={"podSecurityContext": {key: text}},
        podTemplate={"metadata": {"annotations": {f"x{key}": text}}},
    )
    template = found["Deployment"]["spec"]["template"]
    (vllm,) = template["spec"]["containers"]

    assert f"e{text}" in vllm["args"]
    assert vllm["args"][3] == f"n{text}".replace("$", "$$")
    assert {"name": "TEXT", "value": text} in vllm["env"]
    assert found["Service"]["metadata"]["annotations"][key] == text
    assert template["spec"]["affinity"] == {key: [text]}
    assert template["spec"]["securityContext"][key] == text
    assert template["metadata"]["annotations"][f"x{key}"] == text


@given(HOSTILE)
def test_hostile_labels_of_alerts_are_not_expanded(text: str) -> None:
    found = children(monitoring={"alerts": {"labels": {"team": text}}})["PrometheusRule"]
    labels = [rule["labels"]["team"] for group in found["spec"]["groups"] for rule in group["rules"] if "alert" in rule]

    assert set(labels) == {text.replace("{{", '{{"{{"}}')}


@pytest.mark.parametrize(
    ("kind", "template", "message"),
    [
        ("PodDisruptionBudget", "kubernetes/persistentvolumeclaim", "'access_modes' is undefined"),
        ("Service", "deploy/serviceaccount", "'namespace' is undefined"),
        ("PodDisruptionBudget", "kubernetes/bare", "must render the PodDisruptionBudget mistral"),
        ("Service", "kubernetes/missing", "kubernetes/missing"),
    ],
)
def test_template_that_renders_another_object_is_refused(
    monkeypatch: pytest.MonkeyPatch, kind: str, template: str, message: str
) -> None:
    bare = {"kubernetes/bare.yaml.j2": "kind: Service\nmetadata: {name: {{ name }}}"}
    loader = jinja2.ChoiceLoader([jinja2.DictLoader(bare), jinja2.FileSystemLoader(template_folder())])
    monkeypatch.setattr(environment(), "loader", loader)
    monkeypatch.setitem(module.TEMPLATES, kind, template)
    one = server(replicas=2)

    with pytest.raises(TemplateError, match=message):
        render_children(one, plan_children(one, frozenset()))


def test_every_child_has_its_template_and_every_template_its_child() -> None:
    files = {str(path.relative_to(template_folder())) for path in template_folder().rglob("*.j2")}
    own = {file for file in files if not file.startswith(("deploy/", "gateway/", "targets/"))}

    assert own == {f"{template}.yaml.j2" for template in module.TEMPLATES.values()}


def test_templates_hold_no_condition() -> None:
    """The plan decides which parts exist, where unit tests can see it."""
    paths = [path for path in template_folder().rglob("*.j2") if "targets" not in path.parts]
    texts = {path.name: path.read_text() for path in paths}

    assert [name for name, text in texts.items() if "{% if" in text or "{%if" in text] == []
