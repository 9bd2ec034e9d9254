"""Children of gateways, and their golden file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api.gateway_resource import VLLMGateway, parse_gateway
from vllm_operator.desired.rendering.templates import render_template, template_folder
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway import children
from vllm_operator.gateway.children import GatewayImages, gateway_url, render_gateway
from vllm_operator.install.manifests import to_yaml

GOLDEN = Path(__file__).with_name("expected")
FULL = {
    "replicas": 3,
    "auth": {"secrets": [{"name": "keys"}]},
    "tls": {"secretName": "chat-tls"},
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
    "networkPolicy": {"isolateServers": True, "allowFrom": [{"podSelector": {}}]},
    "resources": {"limits": {"memory": "2Gi"}},
    "podTemplate": {"spec": {"nodeSelector": {"pool": "edge"}}},
}


def gateway(name: str = "chat", **spec: Any) -> VLLMGateway:
    return parse_gateway({"metadata": {"namespace": "llm", "name": name, "uid": "u-1", "generation": 1}, "spec": spec})


def objects(one: VLLMGateway) -> dict[str, dict[str, Any]]:
    rendered = render_gateway(one, GatewayImages("operator:1"), ["mistral"], ["keys"])
    return {f"{manifest.kind} {manifest.name}": manifest.body for manifest in rendered}


@pytest.mark.parametrize(("name", "spec"), [("empty", {}), ("full", FULL)])
def test_children_are_those_of_the_golden_file(name: str, spec: dict[str, Any]) -> None:
    text = to_yaml(objects(gateway(**spec)).values())
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_every_template_of_a_gateway_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = set()

    def record(template: str, values: Any) -> dict[str, Any]:
        rendered.add(f"{template}.yaml.j2")
        return render_template(template, values)

    monkeypatch.setattr(children, "render_template", record)
    objects(gateway(**FULL))
    files = {f"gateway/{path.name}" for path in (template_folder() / "gateway").iterdir()}
    assert rendered == files - {"gateway/httproute.yaml.j2", "gateway/inferencepool.yaml.j2"}, "see test_exposure.py"


def test_the_empty_spec_has_no_policy_and_a_budget() -> None:
    kinds = [place.split()[0] for place in objects(gateway())]
    assert kinds == [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "ConfigMap",
        "Service",
        "Deployment",
        "PodDisruptionBudget",
    ]
    assert "PodDisruptionBudget chat-gateway" not in objects(gateway(replicas=1))


def test_pods_are_restricted_and_keep_their_files_in_memory() -> None:
    pod = objects(gateway())["Deployment chat-gateway"]["spec"]["template"]["spec"]
    for container in (*pod["containers"], *pod["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert pod["securityContext"]["runAsNonRoot"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["xds"]["emptyDir"]["medium"] == "Memory"
    assert pod["initContainers"][1]["volumeMounts"][0] == {"name": "xds", "mountPath": "/xds", "readOnly": True}


def test_the_role_names_secrets_and_servers() -> None:
    rules = objects(gateway())["Role chat-gateway"]["rules"]
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in rules[2:]] == [
        (["secrets"], ["keys"], ["get"]),
        (["vllmservers"], ["mistral"], ["patch"]),
    ]
    assert len(objects(gateway(holding={"timeoutSeconds": 0}))["Role chat-gateway"]["rules"]) == 3


def test_a_pod_template_keeps_the_containers_and_the_selector() -> None:
    labels = {"app.kubernetes.io/name": "other", "team": "x"}
    merged = objects(gateway(podTemplate={"metadata": {"labels": labels}}))["Deployment chat-gateway"]
    found = merged["spec"]["template"]["metadata"]["labels"]
    assert found["team"] == "x"
    assert merged["spec"]["selector"]["matchLabels"].items() <= found.items()
    with pytest.raises(InvalidSpecError, match="the container envoy is missing"):
        objects(gateway(podTemplate={"spec": {"initContainers": [{"name": "envoy", "$patch": "delete"}]}}))


def test_addresses_leave_out_the_usual_port() -> None:
    assert gateway_url(gateway()) == "http://chat-gateway.llm.svc"
    assert gateway_url(gateway(service={"port": 8000})) == "http://chat-gateway.llm.svc:8000"
    assert gateway_url(gateway(**FULL)) == "https://chat-gateway.llm.svc"


def test_long_names_are_shortened_and_all_documents_are_yaml() -> None:
    one = gateway("g" * 120)
    assert all(len(manifest.name) <= 63 for manifest in render_gateway(one, GatewayImages("i"), [], []))
    assert list(yaml.safe_load_all(to_yaml(objects(one).values())))
