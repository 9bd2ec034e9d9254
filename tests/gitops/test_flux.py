"""The real controllers of Flux apply the sample in its order, and read the state of a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.programs import built
from tests.chart.releases import lend, operator
from tests.gitops.sample import write_flux_sample
from tests.helpers.alone import install_crd
from tools.harness.control_plane import Plane
from tools.harness.gitops.flux import CONTROLLERS, GIT, KUSTOMIZATION, NAMESPACE, RELEASE, Flux, flux
from tools.harness.gitops.objects import find
from tools.harness.gitops.repository import BRANCH, Repository, repository
from tools.harness.kube import KIND, Kube, Object
from vllm_operator.api.names import API_VERSION

SYSTEM, DEV = "vllm-operator-system", "llm-dev"
SYNC_SECONDS = 240
"""Longest time until Flux has applied something, on a busy machine."""
QUIET_SECONDS = 10


@pytest.fixture(scope="module")
def controllers(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flux]:
    for name in CONTROLLERS:
        built(f"flux-{name}")
    with flux(plane.kube(), tmp_path_factory.mktemp("flux")) as found:
        yield found


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Repository]:
    """A repository for one test, whose root is that of the sample."""
    with repository(tmp_path / "git") as found:
        yield found


def sources(fleet: Repository, name: str, path: str) -> list[Object]:
    """Return a GitRepository and a Kustomization that waits for the health of what it applies."""
    source = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"interval": "1h", "url": fleet.url, "ref": {"branch": BRANCH}},
    }
    applied = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "interval": "1h",
            "retryInterval": "5s",
            "timeout": "2m",
            "path": f"./{path}",
            "prune": True,
            "wait": True,
            "sourceRef": {"kind": "GitRepository", "name": name},
        },
    }
    return [source, applied]


def server(namespace: str, **spec: Any) -> Object:
    """Return a server."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "tiny", "namespace": namespace},
        "spec": {"model": {"uri": "file:///models/tiny"}, **spec},
    }


def test_flux_waits_for_a_server_as_its_status_says(
    controllers: Flux, fleet: Repository, folder: str, namespace: str, tmp_path: Path
) -> None:
    kube = controllers.kube
    install_crd(kube)

    def commit(at: str, **spec: Any) -> None:
        fleet.write(f"{folder}/server.yaml", server(namespace, **spec))
        revision = fleet.commit(at)
        controllers.refresh(GIT, "health", at)
        kube.eventually(lambda: attempted(controllers, revision), within=SYNC_SECONDS)

    fleet.write(f"{folder}/server.yaml", server(namespace, replicas=0))
    fleet.commit("A server")
    controllers.apply(*sources(fleet, "health", folder))
    # Without an operator nobody has judged the server.
    kube.eventually(lambda: kube.must_get(KIND, "tiny", namespace), within=SYNC_SECONDS)
    kube.stays(lambda: assert_status(controllers, "Unknown"), seconds=QUIET_SECONDS)

    with operator(kube, kube.kubeconfig):
        controllers.wait(KUSTOMIZATION, "health", "True", SYNC_SECONDS)

        commit("A flag that does not exist", replicas=0, engine={"extraArgs": ["--no-such-flag"]})
        message = controllers.wait(KUSTOMIZATION, "health", "False", SYNC_SECONDS)
        assert f"VLLMServer/{namespace}/tiny status: 'Failed'" in message

        commit("Without it", replicas=0)
        controllers.wait(KUSTOMIZATION, "health", "True", SYNC_SECONDS)

        commit("A replica that no node takes", replicas=1)
        kube.stays(lambda: assert_status(controllers, "Unknown"), seconds=QUIET_SECONDS)
        # Flux waits, and yet it applies the next commit.
        commit("None again", replicas=0)
        controllers.wait(KUSTOMIZATION, "health", "True", SYNC_SECONDS)
        controllers.delete(KUSTOMIZATION, "health")
        kube.eventually(lambda: kube.get(KIND, "tiny", namespace) is None, within=60)


def attempted(controllers: Flux, revision: str) -> None:
    """Assert that Flux has begun to apply a commit."""
    status = find(controllers.kube, KUSTOMIZATION, "health", NAMESPACE).get("status") or {}
    assert str(status.get("lastAttemptedRevision")).endswith(revision), status


def assert_status(controllers: Flux, status: str) -> None:
    """Assert the status of the condition Ready."""
    assert controllers.ready(KUSTOMIZATION, "health").get("status") == status


def test_flux_applies_the_sample_in_its_order(controllers: Flux, own_fleet: Repository, tmp_path: Path) -> None:
    kube = controllers.kube
    kube.delete_crd("vllmservers.vllm-operator.dev")
    objects = write_flux_sample(own_fleet, "environments/dev")
    objects[-1]["spec"]["timeout"] = "30s"
    own_fleet.commit("The sample")

    controllers.apply(*objects)

    kube.eventually(lambda: kube.must_get("Deployment", "vllm-operator", SYSTEM), within=SYNC_SECONDS)
    # No node runs the pod of the operator: its Kustomization stays in progress, and that of the servers is not applied.
    kube.stays(lambda: not_applied(kube), seconds=QUIET_SECONDS)
    kube.eventually(lambda: pretend_ready(kube), within=60)
    controllers.wait(RELEASE, "vllm-operator", "True", SYNC_SECONDS)
    controllers.wait(KUSTOMIZATION, "operator", "True", SYNC_SECONDS)
    kube.eventually(lambda: kube.must_get(KIND, "mistral", DEV), within=SYNC_SECONDS)
    with operator(kube, lend(kube, SYSTEM, tmp_path / "operator")):
        kube.eventually(lambda: judged(kube), within=SYNC_SECONDS)
        before = {one["metadata"]["name"]: one["metadata"]["generation"] for one in kube.list(KIND, DEV)}
        assert set(before) == {"mistral", "qwen"}

        # Flux leaves the label of another manager there, and undoes those of kubectl.
        for manager in ("somebody", "kubectl-label"):
            label = ["label", "vllmserver", "mistral", f"by-{manager}=yes", f"--field-manager={manager}"]
            kube.kubectl("-n", DEV, *label)
        path = "environments/dev/image.yaml"
        own_fleet.write(path, (own_fleet.folder / path).read_text().replace("v0.32.0", "v0.31.0"))
        own_fleet.commit("Update vLLM")
        controllers.refresh(GIT, "fleet", "update")
        kube.eventually(lambda: assert_image(kube, "v0.31.0"), within=SYNC_SECONDS)
        found = kube.must_get(KIND, "mistral", DEV)["metadata"]
        assert "by-somebody" in found["labels"]
        assert "by-kubectl-label" not in found["labels"]
        assert found["generation"] == before["mistral"] + 1
        message = controllers.wait(KUSTOMIZATION, "models", "False", SYNC_SECONDS)
        assert f"VLLMServer/{DEV}/mistral status: 'InProgress'" in message
        # While it waits, a Kustomization is not deleted either.
        controllers.delete(KUSTOMIZATION, "models")
        kube.eventually(lambda: kube.list(KIND, DEV) == [], within=60)
    controllers.delete(KUSTOMIZATION, "operator")
    kube.eventually(lambda: kube.get("Deployment", "vllm-operator", SYSTEM) is None, within=60)
    assert kube.get("CustomResourceDefinition", "vllmservers.vllm-operator.dev") is not None, "crds.keep holds"


def not_applied(kube: Kube) -> None:
    """Assert that the namespace of the servers does not exist."""
    assert kube.get("Namespace", DEV) is None


def pretend_ready(kube: Kube) -> None:
    """Write what a kubelet would: the pods of the operator are ready."""
    pods = kube.list("Pod", SYSTEM)
    assert len(pods) == 2
    for pod in pods:
        ready = [{"type": name, "status": "True"} for name in ("Ready", "ContainersReady", "PodScheduled")]
        status = {"phase": "Running", "conditions": ready}
        kube.patch("Pod", pod["metadata"]["name"], SYSTEM, {"status": status}, status=True)


def judged(kube: Kube) -> None:
    """Assert that the operator has judged each server."""
    found = kube.list(KIND, DEV)
    assert len(found) == 2
    assert all((one.get("status") or {}).get("observedGeneration") for one in found), found


def assert_image(kube: Kube, tag: str) -> None:
    """Assert the image of the replicas."""
    (container, *_) = kube.must_get("Deployment", "mistral", DEV)["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(tag), yaml.safe_dump(container["image"])
