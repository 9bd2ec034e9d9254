"""What the commands answer to trouble, on a real cluster: the table of docs/how-to/kubectl-plugin.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.e2e.plugin.conftest import KEY
from tests.e2e.plugin.program import Program
from tools.harness.kube import Kube

NAMED = ("get", "status", "top", "logs", "wait", "chat", "complete", "bench", "doctor", "check", "scale", "pause")
REMEDY = "set engine.maxModelLen to 2048 or less"


def test_wait_ends_with_the_cause_of_a_server_that_cannot_start(program: Program, broken: str) -> None:
    ended = program.run("wait", broken, "--timeout", "3m")
    assert ended.code == 1
    assert "too-long: Stalled (" in ended.stderr
    assert REMEDY in ended.stderr


def test_logs_show_the_former_run_of_a_server_that_cannot_start(program: Program, broken: str) -> None:
    ended = program.run("logs", broken, "--tail", "12")
    assert ended.code == 0
    assert "former run, exit code 1" in ended.stderr
    assert ended.stderr.startswith("too-long: ")
    assert REMEDY in ended.stderr.splitlines()[0]
    ended = program.run("logs", broken, "--previous", "--tail", "3")
    assert ended.code == 0
    assert len(ended.stdout.splitlines()) <= 3


@pytest.mark.parametrize("command", ["chat", "complete", "bench"])
def test_a_server_that_does_not_serve_is_named_with_its_cause(command: str, program: Program, broken: str) -> None:
    prompt = () if command == "bench" else ("hello",)
    ended = program.run(command, broken, *prompt)
    assert ended.code == 1
    assert f"no replica of {broken} serves: " in ended.stderr
    assert REMEDY in ended.stderr


def test_status_top_doctor_check_and_report_name_the_cause(program: Program, broken: str, tmp_path: Path) -> None:
    for words, code in (
        (("status", broken), 0),
        (("doctor", broken), 1),
        (("check", broken), 1),
        (("get", broken), 0),
    ):
        ended = program.run(*words)
        assert ended.code == code, ended.text
        assert REMEDY in ended.stdout
    assert "CrashLooping" in program.run("top", broken).stdout
    assert program.run("report", broken, "-o", str(tmp_path / "report.zip")).code == 0


@pytest.mark.parametrize("command", NAMED)
def test_an_unknown_name_is_answered_with_the_nearest(command: str, program: Program, serving: str) -> None:
    more = {"scale": ("--replicas", "1"), "chat": ("hello",), "complete": ("hello",)}.get(command, ())
    ended = program.run(command, "mistrl", *more)
    assert ended.code == 4
    assert "did you mean 'mistral'?" in ended.stderr


def test_ctrl_c_ends_waiting_commands_with_130(program: Program, kube: Kube, serving: str) -> None:
    body = kube.must_get("ServiceAccount", "default", program.namespace)
    assert body
    kube.apply(
        {
            "apiVersion": "vllm-operator.dev/v1alpha1",
            "kind": "VLLMServer",
            "metadata": {"name": "never"},
            "spec": {"model": {"uri": "file:///models/tiny"}, "accelerator": {"count": 8}},
        },
        namespace=program.namespace,
    )
    ended = program.interrupted("wait", "never", after="never")
    assert ended.code == 130
    assert ended.stdout.rstrip().endswith("interrupted")
    ended = program.on_terminal("chat", serving, after=">")
    assert ended.code == 130
    assert "Traceback" not in ended.stdout
    kube.delete("VLLMServer", "never", program.namespace)


def test_missing_rights_to_secret_and_port_forward_are_named(
    program: Program, kube: Kube, serving: str, tmp_path: Path
) -> None:
    here, account = ("-n", program.namespace), f"--serviceaccount={program.namespace}:reader"
    kube.kubectl(*here, "create", "serviceaccount", "reader")
    kube.kubectl(*here, "create", "rolebinding", "reader", "--clusterrole=view", account)
    rule = "--resource=vllmservers.vllm-operator.dev"
    kube.kubectl(*here, "create", "role", "servers", "--verb=get,list", rule)
    kube.kubectl(*here, "create", "rolebinding", "servers", "--role=servers", account)
    config = yaml.safe_load(kube.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": kube.kubectl(*here, "create", "token", "reader").stdout.strip()}
    path = tmp_path / "reader.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    reader = Program(path, program.namespace, program.transcript)
    for words in (("chat", serving, "hello"), ("complete", serving, "hello"), ("bench", serving)):
        ended = reader.run(*words)
        assert ended.code == 3
        assert "no right to get secrets" in ended.stderr
        assert "set VLLM_API_KEY" in ended.stderr
        ended = reader.run(*words, VLLM_API_KEY=KEY)
        assert ended.code == 3
        assert "no right to forward a port to the pods" in ended.stderr
        assert "kubectl auth can-i create pods/portforward" in ended.stderr
        assert KEY not in ended.text
    assert "load unknown (no right to get pods/proxy)" in reader.run("status", serving).stdout
    for change in (("pause",), ("scale", "--max", "3")):
        ended = reader.run(*change, serving)
        assert ended.code == 3
        assert "no right to patch vllmservers.vllm-operator.dev" in ended.stderr
    ended = reader.run("restart", serving)
    assert ended.code == 3
    assert "no right to patch deployments.apps" in ended.stderr
