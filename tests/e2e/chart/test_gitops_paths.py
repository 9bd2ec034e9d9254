"""Argo CD applies the sample repository: from nothing to a completion, and back to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.chart.test_install_paths import (
    LLM,
    REPOSITORY,
    TAG,
    TINY,
    Clock,
    first_completion,
    leftovers,
    processes,
    remove_namespaces,
    wait_ready,
)
from tests.gitops.sample import root, write_sample
from tools.harness.gitops.argocd import APPLICATION, ArgoCd, argo_cd
from tools.harness.gitops.objects import find
from tools.harness.gitops.repository import Repository, repository
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Object
from tools.harness.real_cluster import NAME, SYSTEM, RealCluster, cpu_server

SYNC_SECONDS = 180


@pytest.fixture
def fleet(tmp_path: Path, bare: RealCluster) -> Iterator[Repository]:
    """The sample repository with the chart, for this cluster: its image, one replica, and a tiny model."""
    with repository(tmp_path / "git") as found:
        write_sample(found, "environments/test")
        found.write("operator/values.yaml", {"image": {"repository": REPOSITORY, "tag": TAG}})
        spec = {"model": {"uri": "file:///models/tiny"}}
        found.write("models/tiny/server.yaml", cpu_server(bare, TINY, spec))
        found.write("models/tiny/kustomization.yaml", kustomization("server.yaml"))
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LLM}}
        found.write("environments/test/namespace.yaml", namespace)
        found.write(
            "environments/test/kustomization.yaml",
            {**kustomization("namespace.yaml", "../../models/tiny"), "namespace": LLM},
        )
        found.commit("A fleet")
        yield found


def kustomization(*resources: str) -> Object:
    """Return a file of kustomize."""
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(resources)}


@pytest.fixture
def argo(bare: RealCluster, tmp_path: Path) -> Iterator[ArgoCd]:
    (tmp_path / "argocd").mkdir()
    with argo_cd(bare.kube, tmp_path / "argocd") as found:
        yield found


def test_argo_cd_brings_up_the_sample_and_takes_it_down(
    bare: RealCluster, client: InCluster, argo: ArgoCd, fleet: Repository
) -> None:
    kube = bare.kube
    clock = Clock("Argo CD 3.6")
    try:
        argo.apply(root(fleet.url))
        argo.wait("vllm-operator", ("Synced", "Healthy"), within=SYNC_SECONDS)
        clock.step("operator ready")
        kube.eventually(lambda: kube.get(KIND, TINY, LLM) is not None, within=SYNC_SECONDS)
        kube.eventually(lambda: argo.resources("models")[f"{KIND}/{TINY}"] == ("Synced", "Progressing"), within=60)
        wait_ready(kube)
        first_completion(client)
        clock.step("first completion")
        argo.wait("models", ("Synced", "Healthy"), within=60)
        argo.wait("fleet", ("Synced", "Healthy"), within=60)
        assert later_than(kube_time(argo, "models"), deployment_time(bare)), "the second wave waits for the first one"
        before = processes(kube)

        # A commit that no pod needs to know.
        body = yaml.safe_load((fleet.folder / "models/tiny/server.yaml").read_text())
        body["metadata"]["labels"] = {"team": "search"}
        fleet.write("models/tiny/server.yaml", body)
        fleet.commit("Name the team")
        argo.refresh("models")
        kube.eventually(
            lambda: kube.must_get(KIND, TINY, LLM)["metadata"]["labels"].get("team") == "search", within=SYNC_SECONDS
        )
        argo.wait("models", ("Synced", "Healthy"), within=60)
        for name in ("vllm-operator", "models"):
            argo.refresh(name)
            assert {sync for sync, _ in argo.resources(name).values()} == {"Synced"}, argo.resources(name)
        assert processes(kube) == before
        clock.step("upgraded")
        for name in ("fleet", "models", "vllm-operator"):
            if name == "fleet":
                kube.kubectl("-n", "argocd", "delete", APPLICATION, name, "--timeout=60s")
            else:
                argo.delete(name)
    finally:
        remove_namespaces(kube)
    assert leftovers(kube) == ""
    clock.step("back to nothing")


def kube_time(argo: ArgoCd, name: str) -> str:
    """Return when an Application was created."""
    return str(argo.application(name)["metadata"]["creationTimestamp"])


def deployment_time(cluster: RealCluster) -> str:
    """Return when the operator's Deployment became available."""
    found = find(cluster.kube, "deployment", NAME, SYSTEM)
    (available,) = [one for one in found["status"]["conditions"] if one["type"] == "Available"]
    return str(available["lastTransitionTime"])


def later_than(one: str, other: str) -> bool:
    """Return whether a time of the API server is not before another one; both have whole seconds."""
    return one >= other
