"""The command line: its help, and the messages of a failed start."""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from vllm_operator import __version__
from vllm_operator.__main__ import main


@pytest.fixture(autouse=True)
def process_settings() -> Iterator[None]:
    """Restore the settings of the process that a command changes."""
    handlers, level, depth = logging.root.handlers[:], logging.root.level, sys.getrecursionlimit()
    yield
    logging.root.handlers[:], logging.root.level = handlers, level
    sys.setrecursionlimit(depth)


def invoke(*arguments: str, **environment: str | None) -> Result:
    return CliRunner(env=environment).invoke(main, list(arguments))


def run(kubeconfig: Path | None, *options: str, home: Path) -> Result:
    """Run the operator, which must fail with a message."""
    path = str(kubeconfig) if kubeconfig else None
    shown = invoke("run", "--log-level=error", *options, KUBECONFIG=path, HOME=str(home))
    assert shown.exit_code == 1
    assert "Traceback" not in shown.output
    assert isinstance(shown.exception, SystemExit)
    return shown


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Return a kubeconfig whose API server does not answer."""
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "current-context": "a",
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {"token": "secret-token"}}],
            }
        )
    )
    return path


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_help_names_the_commands() -> None:
    shown = invoke("--help").output

    assert [name for name in ("run", "crd", "manifests") if f"  {name} " not in shown] == []


@pytest.mark.parametrize("command", ["run", "crd", "manifests"])
def test_each_option_has_help(command: str) -> None:
    options = {option.name: getattr(option, "help", None) for option in main.commands[command].params}

    assert [name for name, text in options.items() if not text] == []
    assert invoke(command, "-h").exit_code == 0


def test_version_is_that_of_the_package() -> None:
    assert __version__ in invoke("--version").output


def test_unknown_option_is_an_error_of_usage() -> None:
    assert invoke("run", "--no-such-option").exit_code == 2


def test_manifests_are_printed_for_kubectl() -> None:
    objects = list(yaml.safe_load_all(invoke("manifests", "--image", "x/y:1", "-n", "ops").output))
    (deployment,) = [body for body in objects if body["kind"] == "Deployment"]

    assert [body["kind"] for body in objects[:2]] == ["Namespace", "CustomResourceDefinition"]
    assert deployment["metadata"]["namespace"] == "ops"
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "x/y:1"


def test_manifests_of_a_namespaced_operator_have_a_role_in_every_namespace() -> None:
    objects = list(yaml.safe_load_all(invoke("manifests", "-n", "ops", "--namespaced", "--serve", "team").output))
    (deployment,) = [body for body in objects if body["kind"] == "Deployment"]
    roles = sorted(
        (body["metadata"]["namespace"], body["metadata"]["name"]) for body in objects if body["kind"] == "Role"
    )

    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [value for value in args if value.startswith("--namespace")] == ["--namespace=ops", "--namespace=team"]
    assert roles == [("ops", "vllm-operator"), ("ops", "vllm-operator-servers"), ("team", "vllm-operator-servers")]
    assert "ClusterRole" not in {body["kind"] for body in objects}


def test_manifests_for_a_user_without_rights_in_the_cluster_are_all_in_namespaces() -> None:
    shown = invoke("manifests", "-n", "team", "--namespaced", "--without-cluster-objects")

    assert {body["metadata"].get("namespace") for body in yaml.safe_load_all(shown.output)} == {"team"}


def test_objects_of_the_prometheus_operator_come_only_when_asked_for() -> None:
    def kinds(*options: str) -> set[str]:
        return {body["kind"] for body in yaml.safe_load_all(invoke("manifests", *options).output)}

    plain = kinds()
    assert kinds("--pod-monitor") - plain == {"PodMonitor"}
    assert kinds("--rules") - plain == {"PrometheusRule"}
    assert plain.isdisjoint({"PodMonitor", "PrometheusRule"})


def test_cluster_wide_operator_cannot_do_without_cluster_objects() -> None:
    shown = invoke("manifests", "--without-cluster-objects")

    assert shown.exit_code == 2
    assert "needs --serve or --namespaced" in shown.output


@pytest.mark.parametrize("name", ["team-*", "Team", "-team", "", "a" * 64])
def test_invalid_namespace_is_named(name: str) -> None:
    shown = invoke("run", "--namespace", name)

    assert shown.exit_code == 2
    assert f"{name!r} is not a valid name of a namespace" in shown.output


@pytest.mark.parametrize("url", ["wiki.example/%s", "https://wiki.example/", "https://a/%s/%s", "https://a/%s{{"])
def test_url_without_a_place_for_the_alert_is_refused(url: str) -> None:
    shown = invoke("run", "--runbook-url", url)

    assert shown.exit_code == 2
    assert f"{url!r} must be an http or https URL" in shown.output


def test_manifests_are_written_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "install.yaml"

    assert invoke("manifests", "-o", str(path)).output == ""
    assert path.read_text() == invoke("manifests").output


def test_missing_kubeconfig_is_reported_with_the_way_to_set_it(tmp_path: Path) -> None:
    assert "set KUBECONFIG to a kubeconfig file" in run(None, home=tmp_path).output


def test_kubeconfig_that_is_missing_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "missing") in run(tmp_path / "missing", home=tmp_path).output


@pytest.mark.parametrize("text", ["", "clusters: [", "[]", "current-context: a\ncontexts: []\n", "\x00"])
def test_broken_kubeconfig_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)

    assert "kubeconfig" in run(path, home=tmp_path).output


def test_port_that_is_taken_is_named(kubeconfig: Path, taken_port: int, tmp_path: Path) -> None:
    shown = run(kubeconfig, "--listen", f"127.0.0.1:{taken_port}", home=tmp_path)

    assert f"--listen 127.0.0.1:{taken_port}" in shown.output
    assert "secret-token" not in shown.output


@pytest.mark.parametrize("listen", ["127.0.0.1:http", "127.0.0.1:99999", "nowhere", ""])
def test_invalid_listen_address_is_named(kubeconfig: Path, listen: str, tmp_path: Path) -> None:
    assert f"--listen {listen}" in run(kubeconfig, "--listen", listen, home=tmp_path).output


SERVER = "apiVersion: vllm-operator.dev/v1alpha1\nkind: VLLMServer\nmetadata: {name: a}\nspec: {model: {uri: MODEL}}\n"


def render(text: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["render", "-f", "-", *options], input=text)


def test_render_prints_objects_and_ends_with_0() -> None:
    shown = render(SERVER.replace("MODEL", "x/y"), "-n", "llm", "--no-monitoring-crds")

    assert [body["kind"] for body in yaml.safe_load_all(shown.stdout)] == ["Service", "Deployment"]
    assert shown.exit_code == 0


def test_render_names_the_refusal_and_ends_with_1(tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(SERVER.replace("MODEL", "s3://x/y"))
    shown = CliRunner().invoke(main, ["render", "-f", str(path)])

    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert "default/a: refused: spec.model.uri: " in shown.stderr


def test_render_prints_json_also_for_a_file_that_is_no_yaml() -> None:
    shown = render("a: [", "-o", "json")

    assert shown.exit_code == 1
    assert json.loads(shown.stdout)["accepted"] is False


def test_render_judges_pod_templates_as_the_rendered_install_file_does() -> None:
    text = SERVER.replace("MODEL}", "x/y}, podTemplate: {spec: {hostNetwork: true}}")

    assert "spec.podTemplate.spec.hostNetwork" in render(text).stderr
    assert render(text).exit_code == 1
    assert render(text, "--pod-template=free").exit_code == 0
