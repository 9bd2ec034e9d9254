"""Admission policies that change or refuse children: the operator does not fight them, and reports them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tests.integration.servers import Servers
from tools.harness.audit import AuditLog
from tools.harness.kube import API_VERSIONS, Kube, Object

VERSION = "admissionregistration.k8s.io/v1"
MUTATING, VALIDATING = "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"
API_VERSIONS.update({kind: VERSION for policy in (MUTATING, VALIDATING) for kind in (policy, f"{policy}Binding")})

TAKES_EFFECT_SECONDS = 2.0
"""The API server compiles policies by and by."""

ADDS = """
Object{
  metadata: Object.metadata{labels: {"team": "ml"}},
  spec: Object.spec{template: Object.spec.template{
    metadata: Object.spec.template.metadata{annotations: {"example.com/inject": "true"}},
    spec: Object.spec.template.spec{containers: [
      Object.spec.template.spec.containers{name: "mesh", image: "mesh:1"},
      Object.spec.template.spec.containers{name: "vllm", env: [
        Object.spec.template.spec.containers.env{name: "HTTPS_PROXY", value: "http://proxy:1"}]}]}}}}
"""
PINS = '[JSONPatch{op: "replace", path: "/spec/replicas", value: 2}]'
HIDES = 'Object{metadata: Object.metadata{labels: {"app.kubernetes.io/managed-by": "platform"}}}'


def applying(expression: str) -> Object:
    return {"mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]}


def patching(expression: str) -> Object:
    return {"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}]}


def denying(words: str) -> Object:
    return {"validations": [{"expression": "false", "message": words}]}


@contextlib.contextmanager
def policy(kube: Kube, namespace: str, kind: str, rules: Object) -> Iterator[None]:
    """A policy for the Deployments of a namespace, for as long as the `with` block lasts."""
    resource = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"]}
    matched = {
        "resourceRules": [{**resource, "resources": ["deployments"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    spec = {"matchConstraints": matched, "failurePolicy": "Fail", **rules}
    binding: Object = {"policyName": namespace}
    if kind == MUTATING:
        spec["reinvocationPolicy"] = "IfNeeded"
    else:
        binding["validationActions"] = ["Deny"]
    for name, body in ((kind, spec), (f"{kind}Binding", binding)):
        kube.create({"apiVersion": VERSION, "kind": name, "metadata": {"name": namespace}, "spec": body})
    time.sleep(TAKES_EFFECT_SECONDS)
    try:
        yield
    finally:
        for name in (f"{kind}Binding", kind):
            kube.delete(name, namespace)


def wait_for_note(servers: Servers, *words: str) -> None:
    """Wait until the server is accepted with these words."""

    def check() -> None:
        accepted = servers.condition("altered")
        assert accepted.get("status") == "True", accepted
        assert all(word in accepted["message"] for word in words), accepted

    servers.kube.eventually(check, within=15, namespace=servers.namespace)


def test_fields_of_a_policy_stay_and_other_edits_are_undone(servers: Servers, audit: AuditLog) -> None:
    with policy(servers.kube, servers.namespace, MUTATING, applying(ADDS)):
        servers.create("altered")
        former = servers.child("Deployment", "altered")
        containers = [container["name"] for container in former["spec"]["template"]["spec"]["containers"]]
        assert sorted(containers) == ["mesh", "vllm"]
        mark = audit.mark()
        edit = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 9}}}}
        servers.kube.patch("Deployment", "altered", servers.namespace, edit)
        servers.kube.eventually(
            lambda: servers.child("Deployment", "altered")["spec"] == former["spec"],
            within=5,
            namespace=servers.namespace,
        )
        time.sleep(2)
        written = [write.target for write in audit.writes(mark, namespace=servers.namespace)]
        assert written.count("deployments/altered") == 1


def test_replicas_pinned_by_a_policy_are_reported_and_left(servers: Servers, audit: AuditLog) -> None:
    with policy(servers.kube, servers.namespace, MUTATING, patching(PINS)):
        servers.create("altered", {"replicas": 1})
        wait_for_note(servers, "changes Deployment altered: spec.replicas")
        servers.kube.eventually(
            lambda: servers.condition("altered", "Progressing")["reason"] == "RollingOut",
            within=15,
            namespace=servers.namespace,
        )
        mark = audit.mark()
        time.sleep(3)
        assert audit.writes(mark, namespace=servers.namespace) == []


def test_policy_that_removes_the_watched_label_is_reported(servers: Servers) -> None:
    with policy(servers.kube, servers.namespace, MUTATING, applying(HIDES)):
        servers.create("altered")
        wait_for_note(servers, "app.kubernetes.io/managed-by", "exempt the label from the policy")


def test_child_unlabelled_by_a_policy_later_is_reported_and_not_applied_again(
    servers: Servers, audit: AuditLog
) -> None:
    servers.create("altered")
    with policy(servers.kube, servers.namespace, MUTATING, applying(HIDES)):
        servers.patch("altered", {"replicas": 3}, settled=False)
        wait_for_note(servers, "app.kubernetes.io/managed-by", "exempt the label from the policy")
        time.sleep(2)
        mark = audit.mark()
        servers.patch("altered", {"service": {"annotations": {"team": "ml"}}}, settled=False)
        time.sleep(3)
        assert "deployments/altered" not in [write.target for write in audit.writes(mark, namespace=servers.namespace)]


def test_denial_of_a_policy_is_reported_with_its_message(servers: Servers) -> None:
    servers.create("altered")
    with policy(servers.kube, servers.namespace, VALIDATING, denying("changes are frozen")):
        servers.patch("altered", {"replicas": 3}, settled=False)
        servers.refused("altered", "Deployment altered", "changes are frozen", reason="ChildRefused")
