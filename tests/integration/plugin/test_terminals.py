"""What reaches a terminal, and how kubectl runs the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.plugin.world import Run
from tests.integration.servers import Servers, manifest
from tools.harness.control_plane import Plane
from tools.harness.kube import KIND
from tools.harness.operator_process import OperatorProcess


def test_hostile_status_moves_no_cursor(run: Run, world: Servers, operator_session: OperatorProcess) -> None:
    body = manifest("hostile", {"paused": True, "replicas": 0})
    body["metadata"]["annotations"] = {"a": "\x1b[2J"}
    world.kube.create(body, world.namespace)
    world.settled("hostile")
    status = {"message": "\x1b[2J\x1b]0;owned\x07 evil \u202etext", "observedGeneration": 1}
    world.kube.patch(KIND, "hostile", world.namespace, {"status": status}, status=True)
    for words in (["get"], ["status", "hostile"], ["doctor"], ["wait", "hostile", "--timeout", "1s"]):
        text = run(*words, terminal=False).text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_kubectl_runs_and_completes_the_plugin(plane: Plane, world: Servers) -> None:
    """kubectl finds `kubectl-vllm` and `kubectl_complete-vllm` in the folders of PATH."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment["KUBECONFIG"] = str(plane.kubeconfig)
    program = str(world.kube.program)

    def kubectl(*words: str) -> str:
        done = subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "mistral" in kubectl("vllm", "get", "-n", world.namespace)
    assert "status" in kubectl("__complete", "vllm", "stat")
    assert "mistral" in kubectl("__complete", "vllm", "status", "-n", world.namespace, "mis")
