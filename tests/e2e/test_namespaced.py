"""The operator with Roles instead of a ClusterRole, on a real cluster: it serves a real vLLM, and nothing is denied."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import pods, wait_ready
from tools.harness import rights
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Kube, essence
from tools.harness.real_cluster import NAME, SYSTEM, RealCluster, cpu_server
from tools.localcluster import settings
from vllm_operator.install.manifests import operator_manifests, to_yaml

OWN = "vllm-operator-namespaced"
SERVER = "single"


@pytest.fixture(scope="module")
def namespaced(kube: Kube, inside: InCluster) -> Iterator[Kube]:
    """The cluster with a namespaced operator only: the other one is scaled to zero until the end."""
    shipped = operator_manifests(settings.OPERATOR_IMAGE, OWN, [inside.namespace])
    # The CRD is there, and its deletion would take every server with it.
    manifests = to_yaml(body for body in shipped if body["kind"] != "CustomResourceDefinition")
    kube.kubectl("-n", SYSTEM, "scale", f"deployment/{NAME}", "--replicas=0")
    try:
        kube.eventually(lambda: kube.list("Pod", SYSTEM) == [], within=60)
        kube.kubectl("apply", "--server-side", "-f", "-", stdin=manifests)
        kube.kubectl("-n", OWN, "rollout", "status", f"deployment/{NAME}", "--timeout=90s")
        yield kube
    finally:
        kube.kubectl("delete", "--ignore-not-found", "--timeout=90s", "-f", "-", stdin=manifests, check=False)
        kube.kubectl("-n", SYSTEM, "scale", f"deployment/{NAME}", "--replicas=1")
        kube.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}", "--timeout=90s")


def test_namespaced_operator_serves_its_namespace_and_no_other(
    cluster: RealCluster, namespaced: Kube, inside: InCluster
) -> None:
    kube, body = namespaced, cpu_server(cluster, SERVER, {"model": {"uri": "file:///models/tiny"}})
    before = {server["metadata"]["name"] for server in kube.list(KIND, inside.namespace)}
    children = {name: essence(kube.must_get("Deployment", name, inside.namespace)) for name in before}
    with kube.namespace("e2e-other") as other:
        kube.apply(body, namespace=other)
        kube.apply(body, namespace=inside.namespace)
        server = wait_ready(inside, SERVER)
        assert server["status"]["servedModels"] == ["tiny"]
        assert inside.chat(SERVER, "tiny")[0] == 200
        assert kube.must_get(KIND, SERVER, other)["status"] == {"observedGeneration": -1}, "the default of the CRD"
    # What the other operator had made is left as it was.
    assert children == {name: essence(kube.must_get("Deployment", name, inside.namespace)) for name in before}
    kube.kubectl("-n", inside.namespace, "delete", "vllmserver", SERVER, "--timeout=60s")
    kube.eventually(lambda: pods(inside, SERVER) == [], within=60, namespace=inside.namespace)


def test_namespaced_operator_is_never_denied_anything(
    cluster: RealCluster, namespaced: Kube, inside: InCluster, audit_mark: int
) -> None:
    if cluster.audit is None:
        pytest.skip("this cluster's audit log is not ours to read: only the local cluster has one")
    asked = rights.requests(cluster.audit, audit_mark, rights.user(OWN))
    assert asked, "it was to run under its own service account"
    assert rights.denied(asked) == []
    assert rights.used(asked) <= rights.granted(operator_manifests("none", OWN, [inside.namespace]))
    assert {request.namespace for request in asked if request.resource} == {OWN, inside.namespace}
