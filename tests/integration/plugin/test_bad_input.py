"""The answers of each command to trouble, by a real API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from tests.helpers.fake_api_server import write_kubeconfig
from tests.helpers.plugin import plugin
from tests.helpers.signals import default_interrupt
from tests.integration.plugin.world import Run
from tests.integration.servers import Servers, manifest
from tools.harness.control_plane import Plane
from vllm_operator.cli.group import COMMANDS

NAME = "mistral"
NEW = json.dumps(manifest("new", {}))
ON_A_NAME: dict[str, tuple[str, ...]] = {
    "get": (),
    "status": (),
    "top": (),
    "logs": (),
    "wait": (),
    "chat": ("hello",),
    "complete": ("hello",),
    "bench": (),
    "doctor": (),
    "report": ("-o", "/dev/null", "--force"),
    "check": (),
    "scale": ("--replicas", "1"),
    "pause": (),
    "resume": (),
    "restart": (),
}
"""Each command about a server -> its further words."""

ON_ALL: tuple[tuple[str, ...], ...] = (
    ("get",),
    ("get", "-A"),
    ("top",),
    ("doctor",),
    ("report", "-o", "/dev/null", "--force"),
    ("check",),
    ("render", "-f", "-", "--diff"),
)
EVERY = (*((name, NAME, *more) for name, more in ON_A_NAME.items()), *ON_ALL)


def test_every_command_of_the_plugin_is_in_these_tables() -> None:
    offline = {"plan", "convert", "completion"}
    assert set(ON_A_NAME) | {words[0] for words in ON_ALL} == set(COMMANDS) - offline


@pytest.mark.parametrize("name", ON_A_NAME)
def test_unknown_name_names_the_nearest(name: str, run: Run) -> None:
    ended = run(name, "mistrl", *ON_A_NAME[name])
    assert ended.code == 4, ended.text
    assert "did you mean 'mistral'?" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_no_answer_of_the_api_server_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    ended = plugin(*words, "--kubeconfig", str(path), stdin=NEW)
    assert ended.code == 3, ended.text
    assert "the API server at http://127.0.0.1:9 is not reachable" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_missing_kubeconfig_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    ended = plugin(*words, "--kubeconfig", str(tmp_path / "absent"), stdin=NEW)
    assert ended.code == 3, ended.text
    assert "absent does not exist: set KUBECONFIG or --kubeconfig" in ended.stderr


def test_name_of_another_namespace_is_found_there(plane: Plane, world: Servers) -> None:
    ended = plugin("get", "mistral", "-n", "default", "--kubeconfig", str(plane.kubeconfig))
    assert ended.code == 4
    assert f"add -n {world.namespace}" in ended.stderr


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_missing_right_names_verb_and_resource(words: tuple[str, ...], powerless: Path, world: Servers) -> None:
    where = () if "-A" in words else ("-n", world.namespace)
    ended = plugin(*words, *where, "--kubeconfig", str(powerless), stdin=NEW)
    assert ended.code == 3, ended.text
    assert "kubectl auth can-i" in ended.stderr
    if words[0] != "render":
        verb = "get" if NAME in words else "list"
        scope = f"in namespace {world.namespace}" if where else "in the whole cluster"
        assert f"no right to {verb} vllmservers.vllm-operator.dev {scope}" in ended.stderr


def test_refused_token_asks_for_a_login(plane: Plane, tmp_path: Path) -> None:
    config = yaml.safe_load(plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    ended = plugin("get", "--kubeconfig", str(path))
    assert ended.code == 3
    assert "refuses the credentials" in ended.stderr


def test_kind_that_the_cluster_does_not_serve_is_named(plane: Plane) -> None:
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.options import ClusterOptions

    with pytest.raises(CallError, match=r"does not serve things\.nowhere\.dev") as caught:
        Cluster(ClusterOptions(kubeconfig=str(plane.kubeconfig))).request("GET", "/apis/nowhere.dev/v1/things")
    assert caught.value.is_missing_kind


def test_ctrl_c_ends_with_130(plane: Plane, world: Servers) -> None:
    command = [sys.executable, "-m", "vllm_operator.cli.entry", "wait", "scaled", "-n", world.namespace]
    process = subprocess.Popen(
        [*command, "--kubeconfig", str(plane.kubeconfig)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=default_interrupt,
    )
    timer = threading.Timer(3, lambda: os.kill(process.pid, signal.SIGINT))
    timer.start()
    _, errors = process.communicate(timeout=30)
    timer.cancel()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("interrupted")
