"""The operator needs every right that ships with it, and no other: read from the audit log of all tests before."""

from __future__ import annotations

import pytest

from tests.support.audit import Request
from tests.support.kube import Kube
from tests.support.real_cluster import NAME, SERVICE_ACCOUNT, SYSTEM, RealCluster


@pytest.fixture(scope="module")
def requests(cluster: RealCluster, kube: Kube, audit_mark: int) -> list[Request]:
    """All requests of the operator since these tests began."""
    if cluster.audit is None:
        pytest.skip("this cluster's audit log is not ours to read: only the local cluster has one")
    found = [request for request in cluster.audit.since(audit_mark, "") if request.user == SERVICE_ACCOUNT]
    assert found, "the operator has asked for nothing: were the other tests run before?"
    return found


def test_the_operator_was_never_denied_anything(requests: list[Request]) -> None:
    denied = {(request.verb, request.resource, request.subresource) for request in requests if request.code == 403}
    assert denied == set()


def test_every_call_names_the_operator_as_its_user_agent(requests: list[Request]) -> None:
    assert {request.agent for request in requests if not request.agent.startswith("vllm-operator/")} == set()


def test_rights_that_were_never_used_are_listed(kube: Kube, requests: list[Request]) -> None:
    used = {f"{request.group}/{right}" for request in requests for right in rights_of(request)}
    granted = set(rights(kube, "ClusterRole", None)) | set(rights(kube, "Role", SYSTEM))
    print("rights never used:", *sorted(granted - used), sep="\n  ")
    assert used <= granted | {"/:get", "/:list"}, "a right comes from elsewhere than the shipped roles"


def rights_of(request: Request) -> list[str]:
    """What a request needs; an apply that creates needs to be allowed both."""
    name = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    created = request.verb == "patch" and request.code == 201
    return [f"{name}:{verb}" for verb in ([request.verb, "create"] if created else [request.verb])]


def rights(kube: Kube, kind: str, namespace: str | None) -> list[str]:
    """`group/resource:verb` of a role."""
    api = kube.client.resources.get(api_version="rbac.authorization.k8s.io/v1", kind=kind)
    rules = api.get(name=NAME, namespace=namespace).to_dict()["rules"]
    return [
        f"{group}/{resource}:{verb}"
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
