from __future__ import annotations

from typing import Any

import pytest
import yaml

from vllm_operator.gateway.offline import rendered_gateway
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.offline.judgement import Judgement
from vllm_operator.offline.report import judge_file

SERVER = {
    "apiVersion": "vllm-operator.dev/v1alpha1",
    "kind": "VLLMServer",
    "metadata": {"name": "tiny", "namespace": "llm"},
    "spec": {"model": {"uri": "hf://org/tiny"}},
}


def gateway(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "chat", "namespace": "llm"}
    return {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMGateway", "metadata": metadata, **changes}


def judged(*bodies: dict[str, Any], pod_template: str = "free") -> list[Judgement]:
    return judge_file(yaml.safe_dump_all(bodies), "default", MONITORING_KINDS, pod_template, rendered_gateway)


def test_a_gateway_is_rendered_with_the_servers_of_its_namespace_in_the_file() -> None:
    elsewhere = {**SERVER, "metadata": {"name": "other", "namespace": "else"}}
    spec = {"auth": {"secrets": [{"name": "keys"}]}, "exposure": {"httpRoute": {"parentRefs": [{"name": "public"}]}}}
    *_, found = judged(SERVER, elsewhere, gateway(spec=spec))
    assert found.accepted
    kinds = [body["kind"] for body in found.objects]
    assert {"Deployment", "Service", "Role", "ConfigMap", "HTTPRoute"} <= set(kinds)
    [role] = [body for body in found.objects if body["kind"] == "Role"]
    assert [rule.get("resourceNames") for rule in role["rules"] if rule["verbs"] == ["patch"]] == [["tiny"]]
    assert [rule["resourceNames"] for rule in role["rules"] if rule["resources"] == ["secrets"]] == [["keys"]]
    assert any("the Secret keys must exist" in note for note in found.notes)


def test_an_empty_gateway_is_accepted_alone() -> None:
    [found] = judged(gateway())
    assert found.accepted
    assert found.name == "llm/chat"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"unknown": 1}, "spec.unknown"),
        ({"routing": "Random"}, "routing"),
        ({"limits": [{"key": "a", "concurrent": 1}]}, "limits of a key need spec.auth"),
        ({"auth": {}}, "auth needs a source of keys"),
        ({"auth": {"jwt": {"issuer": "x", "audiences": ["a"], "jwks": "{}"}}}, "spec.auth.jwt.jwks"),
        ({"models": [{"name": "m", "servers": [{"name": "a", "weight": 0}]}]}, "a weight above 0"),
        ({"podTemplate": {"spec": {"containers": [{"$patch": "delete", "name": "agent"}]}}}, "spec.podTemplate"),
        ({"servers": {"references": [{"namespace": "A_b", "name": "x"}]}}, "namespace"),
    ],
)
def test_a_gateway_that_is_refused_names_the_field(spec: dict[str, Any], message: str) -> None:
    [found] = judged(gateway(spec=spec))
    assert not found.accepted
    assert any(message in problem.message or message in problem.field for problem in found.problems), found.problems


def test_a_name_that_the_crd_refuses_and_another_version_are_refused() -> None:
    [named] = judged({**gateway(), "metadata": {"name": "1chat", "namespace": "llm"}})
    assert "metadata.name" in named.problems[0].message
    [version] = judged({**gateway(), "apiVersion": "vllm-operator.dev/v2"})
    assert version.problems[0].field == "apiVersion"


def test_a_restricted_cluster_refuses_pod_templates() -> None:
    [found] = judged(gateway(spec={"podTemplate": {"spec": {"hostNetwork": True}}}), pod_template="restricted")
    assert found.problems[0].reason == "PodTemplateForbidden"


def test_notes_name_what_only_the_cluster_can_show() -> None:
    references = [{"namespace": "research", "name": "llama"}, {"namespace": "llm", "name": "near"}]
    spec = {"servers": {"references": references, "names": ["absent"]}, "tls": {"secretName": "tls"}}
    [found] = judged(gateway(spec=spec))
    text = "\n".join(found.notes)
    assert "research/llama must have the label gateways.vllm-operator.dev/llm=true" in text
    assert "near is of the own namespace: name it in spec.servers.names" in text
    assert "the VLLMServer absent is not in this file" in text
    assert "the Secret tls must exist" in text
