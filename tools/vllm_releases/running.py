"""A running vLLM of any release on loopback, with a tiny model, whose engine can be suspended or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tools.localcluster import settings
from tools.localcluster.shell import run
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import Environment
from tools.vllm_releases.serving import START_SECONDS, NotServingError, free_port

MODEL = "tiny"
ENGINE_PROCESS = "VLLM::EngineCor"
"""The part that the kernel keeps of the name of vLLM's engine process. Releases before 0.11 do not set a name."""


class RunningVLLM:
    """A `vllm.entrypoints.openai.api_server` that ends with the block.

    Attributes:
        url: base URL, without a slash at the end and without `/v1`.
        engine: process id of the engine.
    """

    def __init__(self, environment: Environment, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._environment = environment
        self._arguments = arguments
        self._variables = env or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.log = environment.folder / "server.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.engine = 0

    def __enter__(self) -> Self:
        models = models_of(self._environment)
        command = [str(self._environment.python), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
        command += ["--model", str(models / MODEL), "--served-model-name", MODEL, "--host", "127.0.0.1"]
        command += ["--port", str(self.port), *self._arguments]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=self._env(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait()
            self.engine = _engine_of(self._process.pid)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill all of its processes, also a suspended one."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Send SIGTERM to vLLM's API server, as the kubelet does."""
        assert self._process is not None
        self._process.terminate()

    def is_running(self) -> bool:
        """Return whether vLLM's API server still runs."""
        return self._process is not None and self._process.poll() is None

    def signal_engine(self, number: signal.Signals) -> None:
        """Send a signal to the engine's process: SIGSTOP makes it freeze, SIGKILL makes it die."""
        os.kill(self.engine, number)

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON", "HF_"))}
        # Releases around 0.18 only start when these are named; the loader passes over what it does not find.
        preload = {"LD_PRELOAD": "libtcmalloc_minimal.so.4:libiomp5.so"}
        fixed = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "VLLM_USE_V1": "1"}
        return {**kept, **ENV, **preload, **fixed, **self._variables}

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=30):
                    return
            except OSError:
                time.sleep(0.5)
        raise NotServingError(self.log.read_text(errors="replace")[-3000:])


def models_of(environment: Environment) -> Path:
    """Return the folder with the tiny models of an environment; write them when missing."""
    models = environment.folder / "models"
    if not models.is_dir():
        models.mkdir()
        run([environment.python, settings.HERE / "vllm" / "make_models.py", models])
    return models


def _engine_of(server: int) -> int:
    """Return the process id of the engine: the named child, or the child with the most memory.

    Raises:
        NotServingError: the server has no child.
    """
    children: list[tuple[bool, int, int]] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name = (folder / "comm").read_text().strip()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            pages = int((folder / "statm").read_text().split()[1])
        except OSError:
            continue  # it has just ended
        if parent == server:
            children.append((name == ENGINE_PROCESS, pages, int(folder.name)))
    if not children:
        raise NotServingError(f"process {server} has no child that could be the engine")
    return max(children)[2]
