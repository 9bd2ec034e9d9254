"""A real vLLM (CPU, a tiny model) on loopback, whose engine processes can be suspended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from tools.localcluster import settings
from tools.localcluster.shell import run
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import install
from tools.vllm_releases.serving import START_SECONDS, NotServingError, free_port

MODEL = "tiny"
ENGINE_PROCESS = "VLLM::EngineCor"
"""The part that the kernel keeps of the name of vLLM's engine processes."""


class RealEngine:
    """A running `vllm.entrypoints.openai.api_server`, installed in the cache of the local cluster when missing.

    Args:
        log: file for its output.
        arguments: further arguments.
        model: folder of the model; a tiny Llama by default.
        names: served names.
        packages: folder of further Python packages.
        variables: further variables of its environment.

    Attributes:
        url: base URL, without a slash at the end.
        engines: process ids of the engines: one, or one for each data-parallel engine.
    """

    def __init__(
        self,
        log: Path,
        *arguments: str,
        model: Path | None = None,
        names: tuple[str, ...] = (MODEL,),
        packages: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._arguments = arguments
        self._model = model
        self._names = names
        self._packages = packages
        self._variables = dict(variables or {})
        self._environment = install(settings.VLLM)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.engines: tuple[int, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(),
                env=_variables(self._packages) | self._variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait()
            self.engines = _engines_of(self._process.pid)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill all of its processes, also a suspended one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Ask the server to stop, as the kubelet and Docker do; it may let its requests end first."""
        assert self._process is not None
        self._process.terminate()

    def suspend(self) -> None:
        """Suspend the engines' processes: they keep their requests and make no progress, as in a deadlock."""
        for engine in self.engines:
            os.kill(engine, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the engines' processes."""
        for engine in self.engines:
            os.kill(engine, signal.SIGCONT)

    def get(self, path: str) -> str:
        """Return the body of an answer 200."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())

    def metric(self, family: str) -> float:
        """Return the sum of all series of a family."""
        lines = (line for line in self.get("/metrics").splitlines() if line.startswith((family + "{", family + " ")))
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def _command(self) -> list[str]:
        server = [str(self._environment.python), "-m", "vllm.entrypoints.openai.api_server"]
        options = ["--model", str(self._model or self._tiny()), "--served-model-name", *self._names]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--enforce-eager"]
        return [*server, *options, *place, *self._arguments]

    def _tiny(self) -> Path:
        models = self._environment.folder / "models"
        if not models.is_dir():
            models.mkdir()
            run([self._environment.python, settings.HERE / "vllm" / "make_models.py", models])
        return models / MODEL

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


def _variables(packages: Path | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON", "HF_"))}
    more = {} if packages is None else {"PYTHONPATH": str(packages)}
    return {**kept, **ENV, **more, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"}


def _engines_of(server: int) -> tuple[int, ...]:
    """Return the process ids of the engines in the session of `server`.

    Raises:
        NotServingError: there is none.
    """
    found = tuple(pid for pid in _session(server) if _name(pid) == ENGINE_PROCESS)
    if not found:
        raise NotServingError(f"process {server} has no child {ENGINE_PROCESS}")
    return found


def _session(leader: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(ValueError, OSError):
            if os.getsid(int(folder.name)) == leader:
                yield int(folder.name)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # it has just ended
