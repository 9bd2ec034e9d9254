"""Start real vLLM with an empty cache, and keep its log: `python -m tools.vllm_releases.record_start`.

The hub holds the weights back for a while, and 0.32 prints nothing in that time. The tests of the startup stages read
the log (`tests/data/starts/download.log`).
"""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from threading import Thread

from tools.harness.hf_hub import Answer, FakeHub, FakeRepository
from tools.localcluster import settings
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import install
from tools.vllm_releases.record_logs import LOGS, REPOSITORY, free_port, neutral

HELD_SECONDS = 30
START_SECONDS = 400


class Slow(Answer):
    """Send the weights in small pieces: a client without data for 10 s repeats its request, and logs that."""

    def send_part(self, file: Path, first: int, last: int) -> None:
        if file.suffix != ".safetensors":
            super().send_part(file, first, last)
            return
        piece = (last - first) // HELD_SECONDS + 1
        for start in range(first, last + 1, piece):
            time.sleep(1)
            super().send_part(file, start, min(start + piece - 1, last))
            self.wfile.flush()


def main() -> None:
    """Record the start."""
    os.nice(10)
    environment = install(settings.VLLM)
    work, model = environment.folder / "start", environment.folder / "models" / "tiny"
    shutil.rmtree(work, ignore_errors=True)
    (work / "home").mkdir(parents=True)
    hub = FakeHub(FakeRepository(REPOSITORY, model))
    hub.RequestHandlerClass = Slow
    Thread(target=hub.serve_forever, daemon=True).start()
    with free_port(taken=False) as port:
        pass
    own = {"HF_HOME": str(work / "home"), "HF_ENDPOINT": hub.url, "VLLM_CACHE_ROOT": str(work / "vllm")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON", "HF_"))}
    arguments = ("--model", REPOSITORY)
    log = work / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(environment.python), "-m", "vllm.entrypoints.openai.api_server", *arguments, "--port", str(port)],
            env={**kept, **ENV, **own}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_healthy(process, port)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = neutral(log.read_text(errors="replace"), environment, model, work).replace(str(port), "8000")
    head = f"# vLLM {environment.release} (CPU): {' '.join(arguments)}; the hub held the weights back"
    (LOGS.parent / "starts" / "download.log").write_text(f"{head} for {HELD_SECONDS} s\n{text}")


def wait_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"vLLM ended with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    raise SystemExit(f"vLLM is not healthy after {START_SECONDS} s")


if __name__ == "__main__":
    main()
