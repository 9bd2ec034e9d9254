"""The real Argo CD shows no difference and the right health for charts, servers and every state of a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.releases import lend, operator
from tests.gitops.sample import root, write_sample
from tests.helpers.alone import install_crd
from tests.helpers.paths import REPOSITORY
from tools.chart.files import OPERATOR, SERVER
from tools.harness.control_plane import Plane
from tools.harness.crds import install_monitoring_crds
from tools.harness.gitops.argocd import APPLICATION, NAMESPACE, ArgoCd
from tools.harness.gitops.repository import BRANCH, Repository
from tools.harness.kube import KIND, Kube, Object
from vllm_operator.api.names import API_VERSION

LAYOUT = REPOSITORY / "config" / "argocd" / "resource_customizations" / "vllm-operator.dev" / "VLLMServer"
OPERATOR_NAME = "vllm-operator"
SYNC_SECONDS = 240
"""Longest time until Argo CD has applied something, on a busy machine."""
QUIET_SECONDS = 20
"""Two comparisons of Argo CD: a conflict would show as a changed object by then."""
SYSTEM, DEV = "vllm-operator-system", "llm-dev"
"""Namespaces of the sample."""
OLD_IMAGE, NEW_IMAGE = "vllm/vllm-openai:v0.32.0", "vllm/vllm-openai:v0.31.0"
"""Image of the environment in the sample, and another one."""


def application(name: str, namespace: str, source: Object, *options: str, **metadata: Any) -> Object:
    """Return an Application that syncs itself, prunes, and undoes changes of others."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "spec": {
            "project": "default",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "source": {"targetRevision": BRANCH, **source},
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["CreateNamespace=true", *options],
                "retry": {"limit": 3, "backoff": {"duration": "2s", "factor": 1}},
            },
        },
    }


def server(name: str, namespace: str, **spec: Any) -> Object:
    """Return a server that fills many fields."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": "search"}},
        "spec": {"model": {"uri": "file:///models/tiny"}, **spec},
    }


def states() -> Iterator[tuple[str, Object, Object]]:
    """Yield name, object and health of each state of the test data for Argo CD's repository."""
    for row in yaml.safe_load((LAYOUT / "health_test.yaml").read_text())["tests"]:
        path = LAYOUT / row["inputPath"]
        body = yaml.safe_load(path.read_text())
        # Only the API server writes the time of a deletion.
        if "deletionTimestamp" not in body["metadata"]:
            yield path.stem, body, row["healthStatus"]


@pytest.fixture(scope="module")
def with_crd(argo: ArgoCd) -> Kube:
    install_crd(argo.kube)
    return argo.kube


def test_every_state_has_its_health(
    argo: ArgoCd, with_crd: Kube, fleet: Repository, folder: str, namespace: str
) -> None:
    found = {name: (body, health) for name, body, health in states()}
    manifests = [
        server(name, namespace, **({"paused": True} if body["spec"].get("paused") else {}))
        for name, (body, _) in found.items()
    ]
    fleet.write(f"{folder}/servers.yaml", manifests)
    fleet.commit("States of servers")
    argo.apply(application("states", namespace, {"repoURL": fleet.url, "path": folder}))
    with_crd.eventually(lambda: len(with_crd.list(KIND, namespace)) == len(found), within=SYNC_SECONDS)

    for name, (body, _) in found.items():
        status = dict(body["status"])
        # Generations differ from those of the recording: what counts is whether both are equal.
        status["observedGeneration"] = 1 + status["observedGeneration"] - body["metadata"]["generation"]
        with_crd.patch(KIND, name, namespace, {"status": status}, status=True)

    expected = {f"{KIND}/{name}": ("Synced", health["status"]) for name, (_, health) in found.items()}
    with_crd.eventually(lambda: assert_equal(argo.resources("states"), expected), within=60)
    assert len(found) > 15
    assert {"Healthy", "Progressing", "Degraded", "Suspended"} == {health for _, health in expected.values()}
    argo.delete("states")


def assert_equal(found: object, expected: object) -> None:
    """Fail with both values where they differ."""
    assert found == expected


@pytest.mark.parametrize(
    ("name", "options", "annotations"),
    [
        ("server-side", ["ServerSideApply=true"], {}),
        ("client-side", [], {}),
        ("diff-by-server", ["ServerSideApply=true"], {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}),
    ],
)
def test_chart_and_servers_show_no_difference(
    argo: ArgoCd, plane: Plane, fleet: Repository, tmp_path: Path, name: str, options: list[str], annotations: Object
) -> None:
    kube = argo.kube
    system, llm = f"system-{name}", f"llm-{name}"
    fleet.copy(OPERATOR, f"{name}/charts/vllm-operator")
    fleet.copy(SERVER, f"{name}/charts/vllm-server")
    fleet.commit("Charts")
    chart = {"repoURL": fleet.url, "path": f"{name}/charts/vllm-operator", "helm": {"releaseName": OPERATOR_NAME}}
    argo.apply(application("operator", system, chart, *options, annotations=annotations))
    kube.eventually(lambda: assert_synced(argo, "operator"), within=SYNC_SECONDS)
    values = {
        "servers": {
            # Label and name of this server are those of the Application.
            "models": {"spec": {"model": {"uri": "file:///models/tiny"}, "cache": {"size": "1Gi"}}},
            "none": {"spec": {"model": {"uri": "file:///models/tiny"}, "replicas": 0}},
            "scaled": {
                "spec": {
                    "model": {"uri": "hf://org/model"},
                    "autoscaling": {"minReplicas": 1, "maxReplicas": 3},
                    "disruption": {"maxUnavailable": 1},
                    "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                    "engine": {"gpuMemoryUtilization": 0.90, "extraArgs": ["--seed=1"]},
                }
            },
        },
    }
    servers = {"repoURL": fleet.url, "path": f"{name}/charts/vllm-server", "helm": {"valuesObject": values}}
    with operator(kube, lend(kube, system, tmp_path / "operator")):
        argo.apply(application("models", llm, servers, *options, annotations=annotations))
        kube.eventually(lambda: judged(kube, llm, 3), within=SYNC_SECONDS)
        for one in ("operator", "models"):
            argo.refresh(one)
            assert_synced(argo, one)
        assert argo.resources("models")[f"{KIND}/none"] == ("Synced", "Healthy")
        assert argo.resources("models")[f"{KIND}/models"][1] == "Progressing"
        before = versions(kube, llm)
        assert {"Deployment/models", "Service/scaled", "HorizontalPodAutoscaler/scaled"} <= set(before)
        kube.stays(lambda: assert_equal(versions(kube, llm), before), seconds=QUIET_SECONDS)

        # Another manager adds a label; Git does not name it, so Argo CD leaves it there, and so does the operator.
        kube.patch(KIND, "models", llm, {"metadata": {"labels": {"by": "somebody"}, "annotations": {"by": "somebody"}}})
        argo.refresh("models")
        assert argo.resources("models")[f"{KIND}/models"][0] == "Synced"
        assert kube.must_get(KIND, "models", llm)["metadata"]["labels"]["by"] == "somebody"

        # A change of what Git names is undone.
        kube.patch(KIND, "models", llm, {"spec": {"model": {"uri": "file:///models/other"}}})
        kube.eventually(lambda: model(kube, llm) == "file:///models/tiny", within=60)
        assert not [one for one in argo.resources("operator") if "test" in one.lower()], "no object of `helm test`"
        argo.delete("models")
        kube.eventually(lambda: kube.list("Deployment", llm) == [], within=60)
    argo.delete("operator")
    assert kube.get("CustomResourceDefinition", "vllmservers.vllm-operator.dev") is not None, "crds.keep holds"
    for one in (system, llm):
        kube.delete("Namespace", one)


def assert_synced(argo: ArgoCd, name: str) -> None:
    """Assert that no object of an Application differs from Git."""
    found = argo.resources(name)
    assert {sync for sync, _ in found.values()} == {"Synced"}, {
        key: one for key, one in found.items() if one[0] != "Synced"
    }


def judged(kube: Kube, namespace: str, count: int) -> None:
    """Assert that the operator has judged each server."""
    found = kube.list(KIND, namespace)
    assert len(found) == count
    assert all((one.get("status") or {}).get("observedGeneration") for one in found), found


def versions(kube: Kube, namespace: str) -> dict[str, str]:
    """Return the resource versions of servers and children whose specs Argo CD could fight for."""
    kinds = (KIND, "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget")
    found = [(kind, one["metadata"]) for kind in kinds for one in kube.list(kind, namespace)]
    # The status of an autoscaler changes by itself: the generation counts where there is one.
    return {
        f"{kind}/{data['name']}": str(data.get("generation") or json.dumps(data["labels"], sort_keys=True))
        for kind, data in found
    }


def model(kube: Kube, namespace: str) -> str:
    """Return the model of the server."""
    return str(kube.must_get(KIND, "models", namespace)["spec"]["model"]["uri"])


def test_second_wave_waits_for_the_operator_and_an_image_update_is_applied(
    argo: ArgoCd, fleet: Repository, tmp_path: Path
) -> None:
    kube = argo.kube
    # The sample has a PodMonitor and a PrometheusRule of the operator.
    install_monitoring_crds(kube)
    write_sample(fleet, "environments/dev")
    fleet.commit("The sample")
    argo.apply(root(fleet.url))
    kube.eventually(lambda: assert_equal(argo.state("vllm-operator"), ("Synced", "Progressing")), within=SYNC_SECONDS)
    # No node runs the pod of the operator: its Application stays in progress, and that of the servers is not applied.
    kube.stays(lambda: assert_equal(argo.application("models"), {}), seconds=QUIET_SECONDS)

    pretend_ready(kube, SYSTEM)
    kube.eventually(lambda: argo.application("models") != {}, within=SYNC_SECONDS)
    with operator(kube, lend(kube, SYSTEM, tmp_path / "operator")):
        kube.eventually(lambda: judged(kube, DEV, 2), within=SYNC_SECONDS)
        argo.refresh("models")
        found = argo.resources("models")
        assert found[f"{KIND}/mistral"] == found[f"{KIND}/qwen"] == ("Synced", "Progressing")

        path = "environments/dev/image.yaml"
        text = (fleet.folder / path).read_text()
        assert OLD_IMAGE in text
        fleet.write(path, text.replace(OLD_IMAGE, NEW_IMAGE))
        fleet.commit("Update vLLM")
        argo.refresh("models")
        kube.eventually(lambda: assert_equal(image(kube, "mistral"), NEW_IMAGE), within=SYNC_SECONDS)
        argo.refresh("models")
        assert_synced(argo, "models")
    argo.kube.kubectl("-n", NAMESPACE, "delete", APPLICATION, "fleet", "--timeout=60s")
    for one in ("models", "vllm-operator"):
        argo.delete(one)


def pretend_ready(kube: Kube, namespace: str) -> None:
    """Write what a kubelet would: the pods of a namespace are ready."""
    pods = kube.list("Pod", namespace)
    assert pods
    for pod in pods:
        ready = [{"type": name, "status": "True"} for name in ("Ready", "ContainersReady", "PodScheduled")]
        status = {"phase": "Running", "conditions": ready}
        kube.patch("Pod", pod["metadata"]["name"], namespace, {"status": status}, status=True)


def image(kube: Kube, name: str) -> str:
    """Return the image of the replicas of a server."""
    (container, *_) = kube.must_get("Deployment", name, DEV)["spec"]["template"]["spec"]["containers"]
    return str(container["image"])
