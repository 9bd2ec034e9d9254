"""The manifests that install the operator."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from vllm_operator.install.manifests import (
    CLUSTER_OBJECTS,
    MonitoringOptions,
    RightsOptions,
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
    assert container["args"] == ["run", "--log-format=json", "--pod-template=restricted", "--secrets=labelled"]


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


def test_no_rule_is_for_objects_without_a_namespace_but_namespaces_themselves() -> None:
    """A Role may read its own namespace by name, and nothing else that has no namespace."""
    resources = {resource for rule in by_kind()["ClusterRole"][0]["rules"] for resource in rule["resources"]}

    assert not resources & {"nodes", "customresourcedefinitions", "persistentvolumes", "storageclasses"}


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


def verbs(rights: RightsOptions, resource: str) -> list[str]:
    """Return the verbs that the ClusterRole allows for a resource."""
    roles = [body for body in operator_manifests(IMAGE, NAMESPACE, rights=rights) if body["kind"] == "ClusterRole"]
    (role,) = [body for body in roles if body["metadata"]["name"] == "vllm-operator"]
    return [verb for rule in role["rules"] if resource in rule["resources"] for verb in rule["verbs"]]


@pytest.mark.parametrize("resource", ["deployments", "services"])
def test_operator_may_delete_no_child_that_every_server_has(resource: str) -> None:
    assert verbs(RightsOptions(), resource) == ["get", "list", "watch", "create", "patch"]


def test_operator_may_delete_pods_only_for_stalled_engines() -> None:
    without = RightsOptions(restart_stalled=False)

    assert verbs(RightsOptions(), "pods") == ["list", "watch", "patch", "delete"]
    assert verbs(without, "pods") == ["list", "watch", "patch"]
    assert "--no-restart-stalled" in without.arguments


@pytest.mark.parametrize(
    ("pod_template", "secrets", "expected"),
    [("free", "all", []), ("restricted", "all", ["get"]), ("free", "labelled", ["get"])],
)
def test_operator_reads_namespaces_only_for_their_labels(pod_template: str, secrets: str, expected: list[str]) -> None:
    assert verbs(RightsOptions(pod_template, secrets), "namespaces") == expected


def test_operator_may_change_its_own_lease_only() -> None:
    (role,) = [body for body in by_kind()["Role"] if body["metadata"]["name"] == "vllm-operator"]
    named = [rule for rule in role["rules"] if "create" not in rule["verbs"]]

    assert [(rule["resourceNames"], rule["verbs"]) for rule in named] == [(["vllm-operator"], ["get", "update"])]


def test_policy_is_there_unless_pod_templates_are_free() -> None:
    free = {body["kind"] for body in operator_manifests(IMAGE, NAMESPACE, rights=RightsOptions("free"))}

    assert "ValidatingAdmissionPolicy" in by_kind()
    assert not {kind for kind in free if kind.startswith("ValidatingAdmission")}


def test_namespaced_operators_have_policies_of_different_names() -> None:
    names = {
        body["metadata"]["name"]
        for namespace in ("a", "b")
        for body in operator_manifests(IMAGE, namespace, ["served"])
        if body["kind"].startswith("ValidatingAdmission")
    }

    assert names == {"vllm-operator-pod-template-a", "vllm-operator-pod-template-b"}


def network_policy(*served: str, **options: Any) -> dict[str, Any]:
    rights = RightsOptions(network_policies=True, **options)
    (body,) = [
        body for body in operator_manifests(IMAGE, NAMESPACE, served, rights=rights) if body["kind"] == "NetworkPolicy"
    ]
    spec: dict[str, Any] = body["spec"]
    return spec


def test_network_policy_selects_the_operator_and_bounds_both_directions() -> None:
    spec = network_policy()
    (deployment,) = by_kind()["Deployment"]

    assert "NetworkPolicy" not in by_kind()
    assert spec["podSelector"] == deployment["spec"]["selector"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]


def test_network_policy_admits_the_namespaces_of_prometheus_to_the_one_port() -> None:
    rule, _ = network_policy(metrics_from=("a", "b"))["ingress"]
    (source,) = rule["from"]

    assert source["namespaceSelector"]["matchExpressions"][0]["values"] == ["a", "b"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]


def test_network_policy_admits_the_api_server_to_the_metrics_api() -> None:
    _, rule = network_policy()["ingress"]

    assert rule == {"ports": [{"protocol": "TCP", "port": "metrics-api"}]}
    assert len(network_policy(metrics_api=False)["ingress"]) == 1
    assert len(network_policy("team")["ingress"]) == 1


def test_metrics_api_has_its_role_service_and_port() -> None:
    names = {(body["kind"], body["metadata"]["name"]) for body in operator_manifests(IMAGE, NAMESPACE)}
    without = operator_manifests(IMAGE, NAMESPACE, rights=RightsOptions(metrics_api=False))

    assert ("ClusterRole", "vllm-operator-metrics-api") in names
    assert not [body for body in without if "metrics-api" in str(body["metadata"]["name"])]
    (deployment,) = [body for body in without if body["kind"] == "Deployment"]
    assert "--no-metrics-api" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_network_policy_lets_the_operator_reach_replicas_of_the_served_namespaces() -> None:
    everywhere, some = network_policy()["egress"][1]["to"][0], network_policy("team")["egress"][1]["to"][0]
    labels = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/component": "server"}

    assert everywhere == {"namespaceSelector": {}, "podSelector": {"matchLabels": labels}}
    assert some["namespaceSelector"]["matchExpressions"][0]["values"] == ["team"]


def test_yaml_holds_the_same_objects() -> None:
    objects = operator_manifests(IMAGE, NAMESPACE)
    text = to_yaml(objects)

    assert list(yaml.safe_load_all(text)) == objects
    assert "&id" not in text
