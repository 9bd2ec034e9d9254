"""A real vLLM (CPU, a tiny model) on loopback, whose engine process can be suspended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self

from tools.localcluster import settings
from tools.localcluster.shell import run
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import install
from tools.vllm_releases.serving import START_SECONDS, NotServingError, free_port

MODEL = "tiny"
ENGINE_PROCESS = "VLLM::EngineCor"
"""The part that the kernel keeps of the name of vLLM's engine process."""


class RealEngine:
    """A running `vllm.entrypoints.openai.api_server`, installed in the cache of the local cluster when missing.

    Attributes:
        url: base URL, without a slash at the end.
        core: process id of the engine.
    """

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._arguments = arguments
        self._environment = install(settings.VLLM)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.core = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(), env=_variables(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait()
            self.core = _engine_of(self._process.pid)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill all of its processes, also a suspended one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Ask the server to stop, as the kubelet and Docker do; it may let its requests end first."""
        assert self._process is not None
        self._process.terminate()

    def suspend(self) -> None:
        """Suspend the engine's process: it keeps its requests and makes no progress, as in a deadlock."""
        os.kill(self.core, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the engine's process."""
        os.kill(self.core, signal.SIGCONT)

    def get(self, path: str) -> str:
        """Return the body of an answer 200."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def metric(self, family: str) -> float:
        """Return the sum of all series of a family."""
        lines = (line for line in self.get("/metrics").splitlines() if line.startswith((family + "{", family + " ")))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _command(self) -> list[str]:
        models = self._environment.folder / "models"
        if not models.is_dir():
            models.mkdir()
            run([self._environment.python, settings.HERE / "vllm" / "make_models.py", models])
        server = [str(self._environment.python), "-m", "vllm.entrypoints.openai.api_server"]
        options = ["--model", str(models / MODEL), "--served-model-name", MODEL, "--host", "127.0.0.1"]
        return [*server, *options, "--port", str(self.port), "--enforce-eager", *self._arguments]

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.get("/health")
                return
            except OSError:
                time.sleep(0.5)
        raise NotServingError(self._log.read_text(errors="replace")[-3000:])


def _variables() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON", "HF_"))}
    return {**kept, **ENV, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"}


def _engine_of(server: int) -> int:
    """Return the process id of the child of `server` that runs the engine.

    Raises:
        NotServingError: there is no such child.
    """
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name, parent = (folder / "comm").read_text().strip(), (folder / "stat").read_text().rpartition(")")[2]
        except OSError:
            continue  # it has just ended
        if name == ENGINE_PROCESS and int(parent.split()[1]) == server:
            return int(folder.name)
    raise NotServingError(f"process {server} has no child {ENGINE_PROCESS}")
