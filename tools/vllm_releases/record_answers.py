"""Record the errors that releases of vLLM answer: `python -m tools.vllm_releases.record_answers 0.32.0 0.12.0`.

It writes `tests/data/answers/RELEASE.json`, from which the tests check that the client library reads them rightly.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.localcluster import settings
from tools.localcluster.shell import run
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import Environment, install
from tools.vllm_releases.serving import START_SECONDS, NotServingError, free_port

FOLDER = settings.REPOSITORY / "tests" / "data" / "answers"
MODEL, KEY = "tiny", "recorded-key"
MAX_MODEL_LEN = 256
ENGINE_PROCESS = "VLLM::EngineCor"
"""The part that the kernel keeps of the name of vLLM's engine process."""
KEPT_HEADERS = ("content-type", "retry-after", "www-authenticate")
DRAIN_SECONDS = 30
"""`--shutdown-timeout`, which releases from 0.18 on have."""
WORDS = "hello " * 1000

Json = dict[str, Any]
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> Json:
    """Return the body of a chat."""
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": 4, **fields}


REQUESTS: dict[str, tuple[str, str, Any, str | None]] = {
    "no key": ("POST", CHAT, chat(), None),
    "wrong key": ("POST", CHAT, chat(), "wrong"),
    "unknown model": ("POST", CHAT, chat(model="no-such-model"), KEY),
    "unknown model, streamed": ("POST", CHAT, chat(model="no-such-model", stream=True), KEY),
    "prompt too long": ("POST", CHAT, chat(messages=[{"role": "user", "content": WORDS}]), KEY),
    "prompt too long, streamed": (
        "POST", CHAT, chat(messages=[{"role": "user", "content": WORDS}], stream=True), KEY,
    ),
    "completion too long": ("POST", "/v1/completions", {"model": MODEL, "prompt": WORDS, "max_tokens": 4}, KEY),
    "too many tokens asked for": ("POST", CHAT, chat(max_tokens=4096), KEY),
    "too many tokens in all": ("POST", CHAT, chat(max_tokens=MAX_MODEL_LEN - 2), KEY),
    "no JSON": ("POST", CHAT, "{nope", KEY),
    "wrong type": ("POST", CHAT, chat(temperature="hot"), KEY),
    "out of range": ("POST", CHAT, chat(temperature=-1), KEY),
    "messages missing": ("POST", CHAT, {"model": MODEL}, KEY),
    "unknown role": ("POST", CHAT, chat(messages=[{"role": "nobody", "content": "x"}]), KEY),
    "tools without a parser": (
        "POST", CHAT,
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}], tool_choice="auto"), KEY,
    ),
    "embeddings of a generator": ("POST", "/v1/embeddings", {"model": MODEL, "input": "x"}, KEY),
    "score of a generator": ("POST", "/score", {"model": MODEL, "text_1": "x", "text_2": "y"}, KEY),
    "rerank of a generator": ("POST", "/v1/rerank", {"model": MODEL, "query": "x", "documents": ["y"]}, KEY),
    "unknown path": ("GET", "/v1/nothing", None, KEY),
    "wrong method": ("GET", CHAT, None, KEY),
    "a chat": ("POST", CHAT, chat(temperature=0.0, seed=1), KEY),
    "a chat, streamed": (
        "POST", CHAT, chat(temperature=0.0, stream=True, stream_options={"include_usage": True}), KEY,
    ),
    "two choices": ("POST", CHAT, chat(n=2, seed=1), KEY),
    "a completion": ("POST", "/v1/completions", {"model": MODEL, "prompt": "hello", "max_tokens": 4}, KEY),
    "tokens of a text": ("POST", "/tokenize", {"model": MODEL, "prompt": "hello world"}, KEY),
    "text of tokens": ("POST", "/detokenize", {"model": MODEL, "tokens": [5, 6]}, KEY),
    "models": ("GET", "/v1/models", None, KEY),
    "version": ("GET", "/version", None, KEY),
}  # fmt: skip
"""Name -> method, path, body and API key."""


class RecordedServer:
    """A running server of one release."""

    def __init__(self, environment: Environment, *arguments: str) -> None:
        self.port = free_port()
        models = environment.folder / "models"
        if not models.is_dir():
            models.mkdir()
            run([environment.python, settings.HERE / "vllm" / "make_models.py", models])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON", "HF_"))}
        preload = {"LD_PRELOAD": "libtcmalloc_minimal.so.4:libiomp5.so"}
        self._log = environment.folder / "answers.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [environment.python, "-m", "vllm.entrypoints.openai.api_server", "--model", models / MODEL,
                 "--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(self.port), "--enforce-eager",
                 "--api-key", KEY, *arguments],
                env={**kept, **ENV, **preload, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.ask("GET", "/health", None, None)
            except OSError:
                time.sleep(0.5)
            else:
                return
        raise NotServingError(self._log.read_text(errors="replace")[-3000:])

    def ask(self, method: str, path: str, body: Any, key: str | None) -> Json:
        """Return one answer as it is recorded."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        content = body if isinstance(body, str) or body is None else json.dumps(body)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            try:
                text, cut = answer.read(), False
            except http.client.IncompleteRead as error:
                text, cut = error.partial, True
            kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() in KEPT_HEADERS}
            record: Json = {"status": answer.status, "headers": kept, "body": text.decode()}
            return {**record, "cut": True} if cut else record
        finally:
            connection.close()

    def ask_until_gone(self) -> Json:
        """Return the first answer that is no success, of requests sent again and again; `refused` if there is none."""
        for _ in range(200):
            try:
                answer = self.ask("POST", CHAT, chat(), KEY)
            except OSError as error:
                return {"error": type(error).__name__}
            if answer["status"] != 200:
                return answer
            time.sleep(0.05)
        return {"error": "it went on to answer"}

    def kill_engine(self) -> None:
        """Kill the process of the engine."""
        for folder in Path("/proc").iterdir():
            try:
                name = (folder / "comm").read_text().strip()
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if name == ENGINE_PROCESS and parent == self.process.pid:
                os.kill(int(folder.name), signal.SIGKILL)

    def stop(self) -> None:
        """Kill all of its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(environment: Environment, *arguments: str) -> Iterator[RecordedServer]:
    """Yield a server that answers."""
    server = RecordedServer(environment, "--max-model-len", str(MAX_MODEL_LEN), *arguments)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


def record(release: str) -> dict[str, Json]:
    """Return all answers of a release by name."""
    environment = install(release)
    drains = tuple(map(int, release.split(".")[:2])) >= (0, 18)
    found: dict[str, Json] = {}
    with serving(environment, *(("--shutdown-timeout", str(DRAIN_SECONDS)) if drains else ())) as server:
        for name, request in REQUESTS.items():
            found[name] = server.ask(*request)
        with_stream(
            server, found, "a stream while the server drains", lambda: server.process.send_signal(signal.SIGTERM)
        )
        found["a request while the server drains"] = server.ask_until_gone()
    with serving(environment) as server:
        with_stream(server, found, "a stream whose engine was killed", server.kill_engine)
        found["a request after the engine was killed"] = server.ask_until_gone()
    return found


def with_stream(server: RecordedServer, found: dict[str, Json], name: str, act: Any) -> None:
    """Do something while a stream runs, and record that stream when it ends."""
    body = chat(stream=True, max_tokens=MAX_MODEL_LEN - 32, ignore_eos=True)

    def read() -> None:
        try:
            found[name] = server.ask("POST", CHAT, body, KEY)
        except (OSError, http.client.HTTPException) as error:
            found[name] = {"error": type(error).__name__}

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    time.sleep(0.1)
    act()


def main() -> None:
    """Record the releases of the command line."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for release in sys.argv[1:]:
        answers = record(release)
        (FOLDER / f"{release}.json").write_text(
            json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        )


if __name__ == "__main__":
    main()
