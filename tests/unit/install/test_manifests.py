"""The manifests that install the operator."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from vllm_operator.install.manifests import (
    CLUSTER_OBJECTS,
    MonitoringOptions,
    operator_manifests,
    to_yaml,
)

IMAGE, NAMESPACE = "registry.example/operator:1", "ops"


def by_kind(*served: str, **options: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the manifests by kind, in their order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for body in operator_manifests(IMAGE, NAMESPACE, served, MonitoringOptions(**options)):
        found.setdefault(body["kind"], []).append(body)
    return found


def test_objects_come_after_those_that_they_need() -> None:
    kinds = list(by_kind())

    assert kinds[:3] == ["Namespace", "CustomResourceDefinition", "ServiceAccount"]
    assert kinds[-1] == "Deployment"


def test_cluster_wide_operator_has_a_cluster_role_and_serves_all_namespaces() -> None:
    objects = by_kind()
    (container,) = objects["Deployment"][0]["spec"]["template"]["spec"]["containers"]

    assert "ClusterRoleBinding" in objects
    assert container["image"] == IMAGE
    assert container["args"] == ["run", "--log-format=json"]


def test_namespaced_operator_has_a_role_in_each_namespace_and_no_cluster_role() -> None:
    objects = by_kind("team-a", "team-b")
    roles = {(body["metadata"]["namespace"], body["metadata"]["name"]) for body in objects["Role"]}
    accounts = {subject["namespace"] for body in objects["RoleBinding"] for subject in body["subjects"]}

    assert not {"ClusterRole", "ClusterRoleBinding"} & objects.keys()
    assert roles == {("team-a", "vllm-operator-servers"), ("team-b", "vllm-operator-servers"), ("ops", "vllm-operator")}
    assert accounts == {NAMESPACE}


def test_role_has_the_rules_of_the_cluster_role() -> None:
    rules = by_kind()["ClusterRole"][0]["rules"]
    role = next(body for body in by_kind("team")["Role"] if body["metadata"]["namespace"] == "team")

    assert role["rules"] == rules


def test_runbooks_are_passed_to_the_operator_and_to_its_alerts() -> None:
    url = "https://wiki.example/%s.md"
    objects = by_kind(rules=True, runbooks=url)
    (container,) = objects["Deployment"][0]["spec"]["template"]["spec"]["containers"]
    (group,) = objects["PrometheusRule"][0]["spec"]["groups"]

    assert container["args"][-1] == f"--runbook-url={url}"
    assert {rule["annotations"]["runbook_url"] for rule in group["rules"]} == {
        f"https://wiki.example/{rule['alert']}.md" for rule in group["rules"]
    }


@pytest.mark.parametrize(("option", "kind"), [("pod_monitor", "PodMonitor"), ("rules", "PrometheusRule")])
def test_monitoring_is_added_on_request_in_the_operators_namespace(option: str, kind: str) -> None:
    (body,) = by_kind(**{option: True})[kind]

    assert kind not in by_kind()
    assert body["metadata"]["namespace"] == NAMESPACE


def test_every_object_outside_of_the_cluster_has_a_namespace() -> None:
    objects = operator_manifests(IMAGE, NAMESPACE, ["team"], MonitoringOptions(pod_monitor=True, rules=True))

    assert [
        body["kind"] for body in objects if body["kind"] not in CLUSTER_OBJECTS and "namespace" not in body["metadata"]
    ] == []


def test_yaml_holds_the_same_objects() -> None:
    objects = operator_manifests(IMAGE, NAMESPACE)
    text = to_yaml(objects)

    assert list(yaml.safe_load_all(text)) == objects
    assert "&id" not in text
