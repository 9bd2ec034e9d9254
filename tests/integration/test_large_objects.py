"""Objects of any legal size and depth cost the operator little memory, get a status, and delay no other server."""

from __future__ import annotations

import json

from tests.integration.servers import MODEL, Servers
from tools.harness.kube import KIND
from tools.harness.operator_process import OperatorProcess

MIB = 1024 * 1024
MAX_GROWTH = 96 * MIB
"""Bytes by which the largest memory of a start may grow: one page of a list (16 MiB), copied once, and its objects one
by one. Parsed together, the objects of the first test take 396 MiB."""
NEST = "[]," * 445_000
"""A part of a template that fills an object of 1.5 MiB, and takes 25 times as much when it is parsed."""
DEEPEST = 9_990
"""Levels of the template in the deepest object that the API server stores."""


def manifest(name: str, template: str) -> str:
    """Return a VLLMServer as JSON text."""
    model = json.dumps(MODEL)
    return (
        f'{{"apiVersion":"vllm-operator.dev/v1alpha1","kind":"{KIND}","metadata":{{"name":"{name}"}},'
        f'"spec":{{"model":{model},"podTemplate":{template}}}}}'
    )


def create(servers: Servers, text: str) -> None:
    """Create a server by kubectl, which adds no annotation with a copy."""
    answer = servers.kube.kubectl("-n", servers.namespace, "create", "-f", "-", stdin=text)
    assert answer.code == 0, answer.stderr


def restarted(operator: OperatorProcess) -> int:
    """Start the operator again; return its largest memory until it was ready, in bytes."""
    operator.stop()
    operator.start()
    operator.wait_ready()
    return operator.peak_memory()


def refusal(servers: Servers, name: str) -> str:
    """Return why a server was refused; read by kubectl, which takes any depth."""
    path = "{range .status.conditions[?(@.type=='Accepted')]}{.status} {.reason} {.message}{end}"

    def judged() -> str:
        text = servers.kube.kubectl("-n", servers.namespace, "get", KIND, name, "-o", f"jsonpath={path}").stdout
        assert text.startswith("False Unreadable "), text
        return text

    return servers.kube.eventually(judged, within=30)


def version_of(servers: Servers, name: str) -> str:
    """Return the resource version of a server; read by kubectl, which takes any depth."""
    path = "jsonpath={.metadata.resourceVersion}"
    return servers.kube.kubectl("-n", servers.namespace, "get", KIND, name, "-o", path).stdout


def test_a_dozen_of_the_largest_manifests_takes_little_memory(servers: Servers, operator: OperatorProcess) -> None:
    before = restarted(operator)
    for number in range(12):
        create(servers, manifest(f"large-{number}", f'{{"x":[{NEST}[]]}}'))

    assert restarted(operator) - before < MAX_GROWTH
    for number in range(12):
        message = refusal(servers, f"large-{number}")
        assert "at most 256 KiB: make it smaller" in message
    servers.create("other")
    servers.accepted("other", within=5)


def test_deepest_object_gets_a_status_and_hides_no_other(servers: Servers, operator: OperatorProcess) -> None:
    create(servers, manifest("deepest", '{"a":' * DEEPEST + "1" + "}" * DEEPEST))
    assert "cannot be read" in refusal(servers, "deepest")

    written = refusal(servers, "deepest"), version_of(servers, "deepest")
    restarted(operator)
    servers.create("other")
    servers.accepted("other", within=5)
    # Each write of its status takes the API server seconds, so a restart makes none.
    assert (refusal(servers, "deepest"), version_of(servers, "deepest")) == written

    servers.kube.delete(KIND, "deepest", servers.namespace)
    servers.create("deepest")
    servers.accepted("deepest", within=5)


def test_annotation_called_resource_version_hides_no_change(servers: Servers, operator: OperatorProcess) -> None:
    servers.create("named")
    version = servers.get("named")["metadata"]["resourceVersion"]
    change = {"metadata": {"annotations": {"resourceVersion": version}}, "spec": {"replicas": 3}}
    servers.kube.patch(KIND, "named", servers.namespace, change)

    def scaled() -> None:
        assert servers.children("named")["Deployment"]["spec"]["replicas"] == 3

    servers.kube.eventually(scaled, within=10)
