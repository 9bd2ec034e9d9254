from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.helpers.fake_api_server import FakeApiServer
from tests.helpers.plugin_world import SERVERS
from tests.unit.cli.commands.conftest import Run
from vllm_operator.kube.kinds import SERVER


def files(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_zip_holds_manifests_statuses_logs_and_events(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    ended = run("report", "-o", str(path))
    assert ended.code == 0
    assert ended.stdout.startswith(f"{path}: ")
    found = files(path)
    assert {"cluster.yaml", "problems.txt", "llm/mistral/vllmserver.yaml", "llm/mistral/deployment.yaml"} <= set(found)
    assert "CrashLooping" in found["llm/crashed/doctor.txt"]
    assert "BackOff" in found["llm/crashed/events.txt"]
    assert "max_model_len" in found["llm/crashed/logs/crashed-5f9c6d7b8-bbbbb.vllm.previous.log"]


def test_no_secret_is_read_or_written(run: Run, api: FakeApiServer, tmp_path: Path) -> None:
    token = "hf_" + "AbCdEfGh1234567890"
    env = [{"name": "HF_TOKEN", "value": token}]
    body = {**SERVERS["mistral"], "spec": {**SERVERS["mistral"]["spec"], "engine": {"env": env}}}
    api.answers[f"GET {SERVER.path('llm', 'mistral')}"] = (200, body)
    path = tmp_path / "r.zip"
    run("report", "mistral", "-o", str(path))
    assert [name for name, text in files(path).items() if token in text] == []
    assert [path for _, path, _, _ in api.asked if "/secrets" in path] == []


def test_existing_file_is_kept_unless_forced(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    path.write_text("mine")
    ended = run("report", "-o", str(path))
    assert (ended.code, "exists: choose another --output" in ended.stderr) == (1, True)
    assert path.read_text() == "mine"
    assert run("report", "-o", str(path), "--force").code == 0


def test_folder_that_cannot_be_written_is_named(run: Run) -> None:
    ended = run("report", "-o", "/proc/no/r.zip")
    assert (ended.code, "cannot be written" in ended.stderr) == (1, True)


def test_default_name_has_the_time(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("report", "mistral")
    assert [path.name[:14] for path in tmp_path.glob("*.zip")] == ["vllm-report-20"]


def test_names_with_all_namespaces_are_a_usage_error(run: Run) -> None:
    assert run("report", "a", "-A").code == 2
