"""One cluster with the shipped operator for all tests of this folder; servers load side by side, to save time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.harness import in_cluster, real_cluster
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Kube, Object, condition
from tools.harness.real_cluster import RealCluster, cpu_server
from tools.localcluster import backends, settings
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

ORDER = (
    # The gateway needs both servers, and the quickstart is changed by its own tests. The rights are read from the audit
    # log of all of them, before the namespaced operator takes the place of the other one.
    "test_gateway", "test_quickstart", "test_client", "test_autoscaling", "test_plugin", "test_gated",
    "test_field_cases", "test_rights", "test_namespaced",
    # `make field-cases`.
    "test_served", "test_kinds",
    # `make states`: the rows of the table in docs/reference/status.md.
    "test_pods", "test_engine", "test_faults", "test_stalled_engine", "test_rollout", "test_flood",
    # `make e2e-client`.
    "test_rolling_update",
    # `make e2e-plugin`.
    "test_commands", "test_bench", "test_changes", "test_bad_input",
    # `make chart-test`, and Argo CD on a cluster.
    "test_install_paths", "test_gitops_paths",
    # `make monitoring-test`.
    "test_admission", "test_selection", "test_operator_faults", "test_real_alerts",
)  # fmt: skip
"""Test modules of this folder in the order in which they run."""
LOADING_SECONDS = 240
"""Two servers that load at the same time on two cores take a minute; a busy machine takes longer."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of this folder by their module; those of other folders stay in front."""
    here = Path(__file__).parent
    items.sort(key=lambda item: 1 + ORDER.index(item.path.stem) if here in item.path.parents else 0)


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealCluster]:
    if reason := backends.lack():
        pytest.skip(reason)
    with real_cluster.real_cluster() as found:
        yield found


@pytest.fixture(scope="session")
def audit_mark(cluster: RealCluster) -> int:
    """The place in the audit log where these tests begin."""
    return cluster.audit.mark() if cluster.audit else 0


@pytest.fixture(scope="session")
def kube(cluster: RealCluster, audit_mark: int) -> Iterator[Kube]:
    """The cluster with the operator in it."""
    with real_cluster.installed_operator(cluster.kube):
        yield cluster.kube


@pytest.fixture(scope="session")
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace with the restricted Pod Security Standard; gone, with all that is in it, at the end."""
    with kube.namespace("e2e", {"pod-security.kubernetes.io/enforce": "baseline"}) as name:
        try:
            yield name
        finally:
            kube.kubectl("-n", name, "delete", "vllmservers,pvc,pods", "--all", "--timeout=60s", check=False)


@pytest.fixture(scope="session")
def inside(cluster: RealCluster, kube: Kube, namespace: str) -> InCluster:
    """A pod in the cluster, which is the hub and the client."""
    found = in_cluster.start(kube, namespace, cluster.vllm_image)
    in_cluster.wait(found)
    return found


@pytest.fixture(scope="session")
def gated(cluster: RealCluster, kube: Kube, inside: InCluster) -> str:
    """A server of a gated model on the hub, with a cache and an API key; it loads while other tests run."""
    for name, value in (("hub", in_cluster.TOKEN), ("clients", "key-of-the-tests")):
        metadata = {"name": name, "labels": {SECRET_LABEL: SECRET_LABEL_VALUE}}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": value}}
        kube.create(secret, inside.namespace)
    environment = {"HF_ENDPOINT": inside.url("hub"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    spec: dict[str, Any] = {
        "model": {
            "uri": f"hf://{in_cluster.REPOSITORY}",
            "servedNames": ["tiny", "gated"],
            "tokenSecretRef": {"name": "hub"},
        },
        "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"]},
        "security": {"apiKeySecretRef": {"name": "clients"}},
    }
    body = cpu_server(cluster, "gated", spec)
    body["spec"]["engine"]["env"] = [{"name": name, "value": value} for name, value in environment.items()]
    kube.apply(body, namespace=inside.namespace)
    return "gated"


@pytest.fixture(scope="session")
def quickstart(cluster: RealCluster, kube: Kube, inside: InCluster, gated: str) -> str:
    """The server of examples/quickstart.yaml, applied as the file is."""
    path = settings.REPOSITORY / "examples" / "quickstart.yaml"
    kube.kubectl("-n", inside.namespace, "apply", "-f", str(path))
    return next(document["metadata"]["name"] for document in yaml.safe_load_all(path.read_text()) if document)


def wait_ready(inside: InCluster, name: str) -> Object:
    """Wait with kubectl, as a pipeline does, until the server is ready."""

    def ready() -> Object:
        server = inside.kube.must_get(KIND, name, inside.namespace)
        generation = (server.get("status") or {}).get("observedGeneration")
        assert generation == server["metadata"]["generation"], server.get("status")
        assert condition(server, "Ready").get("status") == "True", condition(server, "Ready")
        return server

    return inside.kube.eventually(ready, within=LOADING_SECONDS, namespace=inside.namespace)


def pods(inside: InCluster, server: str) -> list[Object]:
    """The pods of a server that are not on their way out."""
    found = inside.kube.list("Pod", inside.namespace, f"app.kubernetes.io/instance={server}")
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
