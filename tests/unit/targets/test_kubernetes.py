from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.helpers.go_tools import go_tool, succeeded
from tests.helpers.target_files import GOLDEN, golden, lost, object_of, order_of, render, rendered, write


def kubectl() -> str:
    return shutil.which("kubectl") or go_tool("kubectl")


@pytest.mark.parametrize("name", GOLDEN)
def test_kustomize_builds_the_children_of_every_golden_manifest(tmp_path: Path, name: str) -> None:
    write(rendered("kubernetes", golden(name)), tmp_path)
    built = {item["kind"]: item for item in yaml.safe_load_all(succeeded(kubectl(), "kustomize", ".", cwd=tmp_path))}
    children = {item["kind"]: item for item in order_of(golden(name)).manifests}
    assert built.keys() == children.keys()
    for kind, item in built.items():
        assert item["metadata"]["namespace"] == "llm"
        assert "ownerReferences" not in item["metadata"]
        assert "app.kubernetes.io/managed-by" not in item["metadata"].get("labels", {})
        if kind != "Deployment":
            assert item.get("spec") == children[kind].get("spec")
    containers = built["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert containers == children["Deployment"]["spec"]["template"]["spec"]["containers"]


def test_selectors_still_match_the_pods() -> None:
    deployment = object_of(render("kubernetes"), "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert object_of(render("kubernetes"), "service.yaml")["spec"]["selector"].items() <= labels.items()


def test_monitoring_can_be_left_out() -> None:
    paths = {file.path for file in render("kubernetes", settings={"monitoring": "no"}).files}
    assert paths == {"kustomization.yaml", "service.yaml", "deployment.yaml"}


def test_replicas_can_be_given() -> None:
    assert object_of(render("kubernetes", replicas=4), "deployment.yaml")["spec"]["replicas"] == 4


def test_what_only_the_operator_does_is_listed() -> None:
    result = render("kubernetes", health={"restartStalled": True}, cache={"size": "1Gi"})
    assert {"spec.health.restartStalled", "status", "spec.cache.retain"} == lost(result).keys()
