"""`argocd admin settings resource-overrides health`, a command of Argo CD, judges each state as documented."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.programs import built
from tests.helpers.paths import REPOSITORY
from tests.project.test_gitops_health import ROWS
from vllm_operator.api.names import API_VERSION, KIND

Object = dict[str, Any]

LAYOUT = REPOSITORY / "config" / "argocd" / "resource_customizations" / "vllm-operator.dev" / "VLLMServer"
SCRIPT = REPOSITORY / "docs" / "how-to" / "argocd-health.lua"
KEY = "resource.customizations.health.vllm-operator.dev_VLLMServer"
RECORDED = yaml.safe_load((LAYOUT / "health_test.yaml").read_text())["tests"]


@pytest.fixture(scope="module")
def settings_of_argo_cd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """argocd-cm as the documentation configures it."""
    path = tmp_path_factory.mktemp("argocd") / "argocd-cm.yaml"
    metadata = {"name": "argocd-cm", "namespace": "argocd", "labels": {"app.kubernetes.io/part-of": "argocd"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: SCRIPT.read_text()}}
    path.write_text(yaml.safe_dump(body))
    return path


def health(settings: Path, resource: Path) -> tuple[str, str]:
    """Return status and message that Argo CD shows for an object."""
    command = [built("argocd"), "admin", "settings", "resource-overrides", "health", resource]
    done = subprocess.run(
        [*command, "--argocd-cm-path", settings],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(settings.parent)},
    )
    assert done.returncode == 0, done.stderr
    head, _, message = done.stdout.partition("\n")
    return head.removeprefix("STATUS: "), message.removeprefix("MESSAGE: ").strip()


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: Path(row["inputPath"]).stem)
def test_recorded_state_has_its_health(settings_of_argo_cd: Path, row: Object) -> None:
    expected = row["healthStatus"]
    path = LAYOUT / row["inputPath"]
    is_deleted = "deletionTimestamp" in yaml.safe_load(path.read_text())["metadata"]

    # Argo CD judges what is being deleted without asking the script.
    message = "Pending deletion" if is_deleted else expected["message"]
    assert health(settings_of_argo_cd, path) == (expected["status"], message)


@pytest.mark.parametrize(("body", "expected"), [row[1::2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_every_state_has_the_documented_health(
    settings_of_argo_cd: Path, tmp_path: Path, body: Object, expected: str
) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, **body}))

    assert health(settings_of_argo_cd, path)[0] == expected


def test_object_without_a_status_is_in_progress(settings_of_argo_cd: Path, tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(
        yaml.safe_dump({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "a", "generation": 1}})
    )

    assert health(settings_of_argo_cd, path)[0] == "Progressing"
