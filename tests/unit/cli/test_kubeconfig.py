from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.fake_api_server import write_kubeconfig
from vllm_operator.cli import kubeconfig
from vllm_operator.cli.exits import UNAVAILABLE, CliError
from vllm_operator.cli.options import ClusterOptions


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kubeconfig and no service account, unless the test writes one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT", tmp_path / "serviceaccount")


def refusal(**options: str) -> str:
    with pytest.raises(CliError) as caught:
        kubeconfig.read_access(ClusterOptions(**options))  # type: ignore[arg-type]
    assert caught.value.code == UNAVAILABLE
    return caught.value.message


def test_server_namespace_and_context_are_read(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1", "llm")
    access = kubeconfig.read_access(ClusterOptions(kubeconfig=str(path)))
    assert (access.configuration.host, access.namespace, access.context) == ("https://127.0.0.1:1", "llm", "test")


def test_files_of_the_variable_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_kubeconfig(tmp_path / "a", "https://127.0.0.1:1")
    second = tmp_path / "b"
    other = json.loads(first.read_text())
    other["contexts"][0]["name"] = "other"
    second.write_text(json.dumps(other))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}")
    assert kubeconfig.read_access(ClusterOptions(context="other")).context == "other"


def test_home_is_the_last_resort(tmp_path: Path) -> None:
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    write_kubeconfig(tmp_path / "home" / ".kube" / "config", "https://127.0.0.1:2")
    assert kubeconfig.read_access(ClusterOptions()).configuration.host == "https://127.0.0.1:2"


def test_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("t")
    assert "service account of this pod cannot be used" in refusal()


def test_no_kubeconfig_says_where_it_was_searched(tmp_path: Path) -> None:
    assert "no cluster: " + str(tmp_path / "home/.kube/config") + " does not exist" in refusal()
    assert "/no/such does not exist" in refusal(kubeconfig="/no/such")


def test_unknown_context_names_the_nearest(tmp_path: Path) -> None:
    path = str(write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1"))
    assert "has no context 'tset': did you mean 'test'?" in refusal(kubeconfig=path, context="tset")
    assert "it has test" in refusal(kubeconfig=path, context="zzz")


@pytest.mark.parametrize(
    "text",
    ["", "[", "a", "[]", "{}", '{"current-context": "x"}', '{"contexts": 3, "current-context": "a"}', "\x00", "- 1"],
)
def test_broken_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    assert str(path) in refusal(kubeconfig=str(path))


def test_folder_and_huge_file_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is no kubeconfig file" in refusal(kubeconfig=str(tmp_path))
    monkeypatch.setattr(kubeconfig, "LARGEST_FILE", 10)
    path = write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1")
    assert "is no kubeconfig file" in refusal(kubeconfig=str(path))


def test_missing_cluster_or_certificate_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1")
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"]["certificate-authority"] = "/no/such/ca.crt"
    path.write_text(json.dumps(config))
    assert "/no/such/ca.crt" in refusal(kubeconfig=str(path))
    config["clusters"] = []
    path.write_text(json.dumps(config))
    assert "cannot be used" in refusal(kubeconfig=str(path))


@pytest.mark.parametrize(
    ("command", "words"),
    [(["/no/such"], "No such file or directory"), (["/bin/echo", "\x1b[2Jno"], "failed to decode")],
)
def test_failed_credential_plugin_is_named(
    command: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_kubeconfig(tmp_path / "k", "https://127.0.0.1:1")
    body = json.loads(path.read_text())
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": command[0], "args": command[1:]}
    body["users"][0]["user"] = {"exec": program}
    path.write_text(json.dumps(body))
    message = refusal(kubeconfig=str(path))
    assert "no credentials for context test: " in message
    assert words in message
    assert "\x1b" not in message
    assert capfd.readouterr() == ("", "")
