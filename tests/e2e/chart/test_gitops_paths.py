"""Argo CD and Flux apply the sample repository: from nothing to a completion, and back to nothing."""

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
from tests.gitops.sample import root, write_flux_sample, write_sample
from tools.harness.gitops.argocd import APPLICATION, ArgoCd, argo_cd
from tools.harness.gitops.flux import GIT, KUSTOMIZATION, RELEASE, Flux, flux
from tools.harness.gitops.objects import find
from tools.harness.gitops.repository import Repository, repository
from tools.harness.in_cluster import InCluster
from tools.harness.kube import KIND, Kube, Object
from tools.harness.real_cluster import NAME, SYSTEM, RealCluster, cpu_server

SYNC_SECONDS = 180


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Repository]:
    """A repository for one test."""
    with repository(tmp_path / "git") as found:
        yield found


def write_environment(fleet: Repository, cluster: RealCluster) -> None:
    """Write the environment of this cluster: one tiny model."""
    spec = {"model": {"uri": "file:///models/tiny"}}
    fleet.write("models/tiny/server.yaml", cpu_server(cluster, TINY, spec))
    fleet.write("models/tiny/kustomization.yaml", kustomization("server.yaml"))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LLM}}
    fleet.write("environments/test/namespace.yaml", namespace)
    fleet.write(
        "environments/test/kustomization.yaml",
        {**kustomization("namespace.yaml", "../../models/tiny"), "namespace": LLM},
    )


def name_the_team(fleet: Repository) -> None:
    """Commit a change that no pod needs to know."""
    body = yaml.safe_load((fleet.folder / "models/tiny/server.yaml").read_text())
    body["metadata"]["labels"] = {"team": "search"}
    fleet.write("models/tiny/server.yaml", body)
    fleet.commit("Name the team")


def team(kube: Kube) -> str | None:
    """Return the label that the commit adds."""
    found: str | None = kube.must_get(KIND, TINY, LLM)["metadata"].get("labels", {}).get("team")
    return found


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
    write_sample(fleet, "environments/test")
    fleet.write("operator/values.yaml", {"image": {"repository": REPOSITORY, "tag": TAG}})
    write_environment(fleet, bare)
    fleet.commit("A fleet")
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

        name_the_team(fleet)
        argo.refresh("models")
        kube.eventually(lambda: team(kube) == "search", within=SYNC_SECONDS)
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


@pytest.fixture
def controllers(bare: RealCluster, tmp_path: Path) -> Iterator[Flux]:
    (tmp_path / "flux").mkdir()
    with flux(bare.kube, tmp_path / "flux") as found:
        yield found


def test_flux_brings_up_the_sample_and_takes_it_down(
    bare: RealCluster, client: InCluster, controllers: Flux, fleet: Repository
) -> None:
    kube = bare.kube
    objects = write_flux_sample(fleet, "environments/test")
    release = yaml.safe_load((fleet.folder / "flux/operator/operator.yaml").read_text())
    release["spec"]["values"]["image"] = {"repository": REPOSITORY, "tag": TAG}
    fleet.write("flux/operator/operator.yaml", release)
    write_environment(fleet, bare)
    fleet.commit("A fleet")
    clock = Clock("Flux")
    try:
        controllers.apply(*objects)
        controllers.wait(RELEASE, "vllm-operator", "True", SYNC_SECONDS)
        clock.step("operator ready")
        kube.eventually(lambda: kube.must_get(KIND, TINY, LLM), within=SYNC_SECONDS)
        assert controllers.ready(KUSTOMIZATION, "models").get("status") == "Unknown", "Flux waits for the server"
        wait_ready(kube)
        first_completion(client)
        clock.step("first completion")
        controllers.wait(KUSTOMIZATION, "models", "True", 60)
        before = processes(kube)

        name_the_team(fleet)
        controllers.refresh(GIT, "fleet", "update")
        kube.eventually(lambda: team(kube) == "search", within=SYNC_SECONDS)
        controllers.wait(KUSTOMIZATION, "models", "True", 60)
        assert processes(kube) == before
        clock.step("upgraded")
        for name in ("models", "operator"):
            controllers.delete(KUSTOMIZATION, name)
        kube.eventually(lambda: find(kube, RELEASE, "vllm-operator", "flux-system") == {}, within=60)
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
