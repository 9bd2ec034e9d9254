"""`python -m tools.vllm_releases.record_logs [ROW...]`: make real vLLM fail, and keep what it said.

The logs are what the table of causes is tested with (`tests/data/logs/`). Rows that need a GPU are quoted
from public reports instead, and stay as they are.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from threading import Thread

from tools.harness.hf_hub import Answer, FakeHub, FakeRepository
from tools.localcluster import settings
from tools.localcluster.report import step
from tools.localcluster.vllm_image import ENV
from tools.vllm_releases.environment import Environment, install

LOGS = settings.REPOSITORY / "tests" / "data" / "logs"
LINES = 200
REPOSITORY = "acme/tiny"
ISOLATE = ["unshare", "--mount", "sh", "-c"]
"""Command line that runs a command with separate mounts, which end with it (Linux, as root)."""


@dataclass(frozen=True)
class Failure:
    """The setup that makes a start of vLLM fail for one cause.

    Attributes:
        arguments: command line of the server, without the port.
        env: variables of its environment.
        model: changes to a copy of the tiny model's config.json, under which it is loaded.
        hub: how the stand-in hub answers: an HTTP status and the hub's code for it; None without a hub.
        prepare: a shell command that runs before the server, in separate mounts.
        seconds: longest time until the server fails.
    """

    arguments: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    model: dict[str, object] | None = None
    hub: tuple[int, str] | None = None
    prepare: str = ""
    seconds: int = 150


MEMORY = "tmpfs $HF_HOME"
UNPRIVILEGED = "exec setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search"
TINY = ("--model", "/models/tiny")
REMOTE = ("--model", REPOSITORY)
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": True}
MORE_GPUS = ("--tensor-parallel-size", "2", "--distributed-executor-backend", "mp")
FAILURES: dict[str, Failure] = {
    "unknown-flag": Failure((*TINY, "--max-model-length", "2048")),
    "invalid-value": Failure((*TINY, "--max-num-seqs", "many")),
    "context-too-long": Failure((*TINY, "--max-model-len", "100000")),
    "kv-cache-too-small": Failure((*TINY, "--num-gpu-blocks-override", "3")),
    "tensor-parallel-size": Failure((*TINY, "--tensor-parallel-size", "3")),
    "unsupported-architecture": Failure(model={"architectures": ["FooForCausalLM"]}),
    "unknown-model-type": Failure(model={"architectures": ["FooForCausalLM"], "model_type": "foo"}),
    "trust-remote-code": Failure(
        model={"auto_map": {"AutoConfig": "configuration_foo.FooConfig"}, "model_type": "foo"},
    ),
    "quantization-unknown": Failure((*TINY, "--quantization", "bitsandbytes")),
    "quantization-mismatch": Failure(("--quantization", "awq"), model={"quantization_config": GPTQ}),
    "gated-401": Failure(REMOTE, hub=(401, "GatedRepo")),
    "gated-403": Failure(REMOTE, hub=(403, "GatedRepo"), env={"HF_TOKEN": "hf_" + "x" * 34}),
    "repository-404": Failure(REMOTE, hub=(404, "RepoNotFound")),
    "revision-404": Failure((*REMOTE, "--revision", "v9"), hub=(404, "RevisionNotFound")),
    "rate-limited-429": Failure(REMOTE, hub=(429, "")),
    "hub-unreachable": Failure(REMOTE, env={"HF_ENDPOINT": "http://127.0.0.1:9"}),
    "disk-full": Failure(REMOTE, hub=(200, ""), prepare="mount -t tmpfs -o size=200k tmpfs $HF_HOME"),
    "cache-permission": Failure(
        REMOTE, hub=(200, ""), prepare=f"mount -t tmpfs -o uid=65534,mode=700 {MEMORY} && {UNPRIVILEGED}"
    ),
    "shared-memory": Failure((*TINY, *MORE_GPUS), prepare="mount -t tmpfs -o size=64k tmpfs /dev/shm"),
    "chat-template": Failure((*TINY, "--chat-template", "/templates/mistral.jinja")),
    "tool-parser": Failure((*TINY, "--enable-auto-tool-choice", "--tool-call-parser", "mistrall")),
    "reasoning-parser": Failure((*TINY, "--reasoning-parser", "deepseek")),
    "port-in-use": Failure(TINY),
    "missing-lora": Failure((*TINY, "--enable-lora", "--lora-modules", "sql=/adapters/sql")),
    "missing-model": Failure(("--model", "/models/mistral")),
    "service-link": Failure(TINY, env={"VLLM_PORT": "tcp://10.96.21.103:80"}),
    "unknown-cause": Failure(model={"hidden_act": "no_such_function"}),
}


class Refusing(Answer):
    """Answer every request with one error."""

    status = HTTPStatus.OK
    code = ""

    def admitted(self, revision: str) -> bool:
        if self.status == HTTPStatus.OK:
            return super().admitted(revision)
        self.refuse(self.status, self.code, "the stand-in hub refuses")
        return False


def main() -> None:
    """Record the rows that the command line names, or all."""
    os.nice(10)
    environment = install(settings.VLLM)
    for row in sys.argv[1:] or FAILURES:
        with step(row, announce=True):
            record(environment, row, FAILURES[row])


def record(environment: Environment, row: str, failure: Failure) -> None:
    """Bring about one failure and write its log."""
    work = environment.folder / "failure"
    shutil.rmtree(work, ignore_errors=True)
    (work / "home").mkdir(parents=True)
    model = _model(environment, work, failure)
    with _hub(failure, model) as endpoint, free_port(taken=row == "port-in-use") as port:
        arguments = [str(model) if item == "/models/tiny" else item for item in failure.arguments]
        if failure.model is not None:
            arguments = ["--model", str(model), *arguments]
        offline = {} if endpoint or "HF_ENDPOINT" in failure.env else {"HF_HUB_OFFLINE": "1"}
        own = {"HF_HOME": str(work / "home"), **offline, **({"HF_ENDPOINT": endpoint} if endpoint else {})}
        text, code = _run(environment, [*arguments, "--port", str(port)], {**own, **failure.env}, failure)
    text = neutral(text, environment, model, work).replace(str(port), "8000")
    variables = [f"{name}={value}" for name, value in failure.env.items() if "TOKEN" not in name]
    model_arguments = TINY if failure.model is not None else ()
    shown = " ".join([*variables, *model_arguments, *failure.arguments])
    LOGS.mkdir(exist_ok=True)
    kept = "\n".join(text.splitlines()[-LINES:])
    (LOGS / f"{row}.log").write_text(f"# vLLM {environment.release} (CPU): {shown}; exit code {code}\n{kept}\n")


def _run(environment: Environment, arguments: list[str], env: dict[str, str], failure: Failure) -> tuple[str, int]:
    command = [str(environment.python), "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *arguments]
    if failure.prepare:
        joined = "exec" if "exec" not in failure.prepare else ""
        ending = f'{failure.prepare} "$@"' if not joined else f'{failure.prepare} && exec "$@"'
        command = [*ISOLATE, ending, "sh", *command]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VLLM_", "PYTHON", "HF_"))}
    process = subprocess.Popen(
        command, env={**kept, **ENV, **env}, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=failure.seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return output, process.returncode


def _model(environment: Environment, work: Path, failure: Failure) -> Path:
    tiny = environment.folder / "models" / "tiny"
    if failure.model is None:
        return tiny
    copy = work / "tiny"
    shutil.copytree(tiny, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **failure.model}))
    return copy


@contextmanager
def _hub(failure: Failure, model: Path) -> Iterator[str]:
    if failure.hub is None:
        yield ""
        return
    status, code = failure.hub
    hub = FakeHub(FakeRepository(REPOSITORY, model))
    hub.RequestHandlerClass = type("Answers", (Refusing,), {"status": HTTPStatus(status), "code": code})
    Thread(target=hub.serve_forever, daemon=True).start()
    yield hub.url
    hub.shutdown()
    hub.server_close()


@contextmanager
def free_port(taken: bool) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("", 0))
        probe.listen()
        port = int(probe.getsockname()[1])
        if taken:
            yield port
    if not taken:
        yield port


def neutral(text: str, environment: Environment, model: Path, work: Path) -> str:
    """Return the log as it would be in a container, without paths of this machine."""
    packages = re.escape(str(environment.folder)) + r"/venv/lib/python3\.\d+/site-packages"
    rules = (
        (re.escape(str(model)), "/models/tiny"),
        (re.escape(str(work / "home")), "/cache/huggingface"),
        (packages, "/usr/local/lib/python3.12/dist-packages"),
        (r"/\S*/versions/3\.\d+\.\d+/lib/python3\.\d+", "/usr/lib/python3.12"),
        (re.escape(str(environment.folder)), "/vllm"),
        (re.escape(socket.gethostname()), "mistral-5f9c6d7b8-x2k7b"),
        (r"http://127\.0\.0\.1:\d+", "https://huggingface.co"),
    )  # fmt: skip
    for pattern, word in rules:
        text = re.sub(pattern, word, text)
    return text


if __name__ == "__main__":
    main()
