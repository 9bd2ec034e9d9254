"""Start the server of one release with a tiny model, and read its metrics and endpoints."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tools.localcluster import settings
from tools.localcluster.shell import run
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import Environment

START_SECONDS = 240
OWN_METRICS = ("vllm:", "vllm_", "http_")


class NotServingError(Exception):
    """The server did not come up; the message is the end of its log."""


def serve(environment: Environment) -> dict[str, object]:
    """Return `metrics` (family -> type) and `endpoints` of a server that really ran.

    Raises:
        NotServingError: it did not come up.
    """
    models = environment.folder / "models"
    if not models.is_dir():
        models.mkdir()
        run([environment.python, settings.HERE / "vllm" / "make_models.py", models])
    port, log = free_port(), environment.folder / "server.log"
    command: list[str | Path] = [environment.python, "-m", "vllm.entrypoints.openai.api_server",
                                 "--model", models / "tiny", "--port", str(port),
                                 "--enforce-eager", "--max-model-len", "1024"]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=_environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}", log)
        _complete(f"http://127.0.0.1:{port}", models / "tiny")
        return {"metrics": _metrics(port), "endpoints": _endpoints(port)}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON"))}
    # Releases around 0.18 only start when these are named; the loader passes over what it does not find.
    preload = {"LD_PRELOAD": "libtcmalloc_minimal.so.4:libiomp5.so"}
    return {**kept, **ENV, **preload, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "VLLM_USE_V1": "1"}


def free_port() -> int:
    """Return a port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _ask(f"{url}/health")
            return
        except OSError:
            time.sleep(1)
    raise NotServingError(log.read_text(errors="replace")[-3000:])


def _complete(url: str, model: Path) -> None:
    """Send one completion: some series exist only once a request has ended."""
    body = json.dumps({"model": str(model), "prompt": "hello", "max_tokens": 2}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120):
        pass
    time.sleep(2)


def _metrics(port: int) -> dict[str, str]:
    text = _ask(f"http://127.0.0.1:{port}/metrics")
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    return {name: kind for name, kind in families if name.startswith(OWN_METRICS) and not name.endswith("_created")}


def _endpoints(port: int) -> list[str]:
    paths = json.loads(_ask(f"http://127.0.0.1:{port}/openapi.json"))["paths"]
    # /metrics is mounted next to the application, so its own description does not list it.
    own = ["GET /metrics"]
    return sorted({*own, *(f"{method.upper()} {path}" for path, methods in paths.items() for method in methods)})


def _ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def read_metrics(environment: Environment) -> dict[str, str]:
    """Return `metrics` as the release's own source declares them, for a release whose server does not run here."""
    package = next((environment.folder / "venv" / "lib").glob("python3*/site-packages/vllm"))
    source = "\n".join(path.read_text() for path in sorted(package.glob("v1/metrics/*.py")))
    declared = re.findall(r'(counter|gauge|histogram)\w*\(\s*name="(vllm:\w+)"', source, re.IGNORECASE)
    found = {_exported(name, kind.lower()): kind.lower() for kind, name in declared}
    launcher = "\n".join(path.read_text() for path in package.glob("entrypoints/**/*.py"))
    return {**found, **({"http_requests_total": "counter"} if "prometheus_fastapi_instrumentator" in launcher else {})}


def _exported(name: str, kind: str) -> str:
    """Return the exported name: the client library ends the names of counters with `_total`."""
    return f"{name.removesuffix('_total')}_total" if kind == "counter" else name
