"""The operator needs every right that ships with it, and no other: read from the audit log of all tests before."""

from __future__ import annotations

import pytest

from tools.harness import rights
from tools.harness.audit import Request
from tools.harness.kube import Kube
from tools.harness.real_cluster import RIGHTS, SYSTEM, RealCluster
from vllm_operator.install.manifests import operator_manifests


@pytest.fixture(scope="module")
def requests(cluster: RealCluster, kube: Kube, audit_mark: int) -> list[Request]:
    """All requests of the operator since these tests began."""
    if cluster.audit is None:
        pytest.skip("this cluster's audit log is not ours to read: only the local cluster has one")
    found = rights.requests(cluster.audit, audit_mark)
    assert found, "the operator has asked for nothing: were the other tests run before?"
    return found


def test_operator_was_never_denied_anything(requests: list[Request]) -> None:
    assert rights.denied(requests) == []


def test_every_call_names_the_operator_as_its_user_agent(requests: list[Request]) -> None:
    assert {request.agent for request in requests if not request.agent.startswith("vllm-operator/")} == set()


def test_operator_uses_the_shipped_rights_and_no_other(requests: list[Request]) -> None:
    """tests/integration/test_rights.py shows that each right is used: not every test here runs on every cluster."""
    granted, used = rights.granted(operator_manifests("none", SYSTEM, rights=RIGHTS)), rights.used(requests)
    print("rights never used:", *sorted(map(str, granted - used)), sep="\n  ")
    assert used <= granted, "a right comes from elsewhere than the shipped roles"
