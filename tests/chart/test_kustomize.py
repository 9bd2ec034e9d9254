"""The kustomize base and components hold the objects of `manifests`; overlays render."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.programs import built
from tools.chart.kustomize import CONFIG, IMAGE, NAMESPACE, NETWORK
from vllm_operator.install.manifests import CLUSTER_OBJECTS, MonitoringOptions, RightsOptions, operator_manifests

Object = dict[str, Any]


def kustomize(folder: Path) -> dict[tuple[str, str], Object]:
    """Return the objects of a folder by kind and name, as `kubectl kustomize` renders them."""
    done = subprocess.run([built("kubectl"), "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return by_name(body for body in yaml.safe_load_all(done.stdout) if body)


def by_name(objects: Any) -> dict[tuple[str, str], Object]:
    """Return objects by kind and name."""
    return {(body["kind"], body["metadata"]["name"]): body for body in objects}


def overlay(folder: Path, *components: str, **fields: Any) -> Path:
    """Write an overlay of the base; return its folder."""
    # kustomize takes bases by relative paths.
    folder.mkdir(exist_ok=True)
    up = "/".join([".."] * len(folder.parts[1:]))
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}{CONFIG}/base"],
        "components": [f"{up}{CONFIG}/components/{name}" for name in components],
        **fields,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return folder


def test_base_is_the_install_file() -> None:
    assert kustomize(CONFIG / "base") == by_name(operator_manifests(IMAGE, NAMESPACE))


def test_namespaced_is_the_install_file_without_cluster_objects() -> None:
    expected = operator_manifests(IMAGE, NAMESPACE, (NAMESPACE,))

    found = kustomize(CONFIG / "namespaced")

    assert found == by_name(body for body in expected if body["kind"] not in CLUSTER_OBJECTS)


def test_components_add_what_the_options_add(tmp_path: Path) -> None:
    found = kustomize(overlay(tmp_path, "monitoring", "dashboards", "network-policy"))

    assert found == by_name(
        operator_manifests(IMAGE, NAMESPACE, (), MonitoringOptions(True, True, dashboards=True), NETWORK)
    )


def test_component_of_gateways_adds_what_the_option_adds(tmp_path: Path) -> None:
    found = kustomize(overlay(tmp_path, "gateways"))

    assert found == by_name(operator_manifests(IMAGE, NAMESPACE, rights=RightsOptions(gateways=True)))


def test_overlay_moves_the_operator_to_another_namespace(tmp_path: Path) -> None:
    found = kustomize(
        overlay(tmp_path, namespace="models", images=[{"name": "vllm-operator", "newName": "r.example/o"}])
    )

    assert {body["metadata"].get("namespace", "models") for body in found.values()} == {"models"}
    assert found["ClusterRoleBinding", "vllm-operator"]["subjects"][0]["namespace"] == "models"
    (container,) = found["Deployment", "vllm-operator"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("r.example/o:")


def test_production_overlay_runs_two_operators() -> None:
    found = kustomize(CONFIG / "overlays" / "production")
    deployment = found["Deployment", "vllm-operator"]["spec"]

    assert (deployment["replicas"], deployment["strategy"]["type"]) == (2, "RollingUpdate")
    constraint = deployment["template"]["spec"]["topologySpreadConstraints"][0]
    assert constraint["labelSelector"]["matchLabels"] == deployment["selector"]["matchLabels"]
    budget = found["PodDisruptionBudget", "vllm-operator"]["spec"]
    assert budget["selector"] == {"matchLabels": deployment["selector"]["matchLabels"]}
    assert {"PodMonitor", "PrometheusRule", "NetworkPolicy"} <= {kind for kind, _ in found}


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in CONFIG.rglob("kustomization.yaml")), ids=lambda p: p.name
)
def test_every_file_of_the_folder_is_used(folder: Path) -> None:
    text = (folder / "kustomization.yaml").read_text()

    assert [
        path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml" and path.name not in text
    ] == []
