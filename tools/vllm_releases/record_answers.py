"""`python -m tools.vllm_releases.record_answers RELEASE...`: keep what a real vLLM answers to clients.

The recordings, one file for each release in `tests/data/client`, test the errors of `vllm_operator.client`. Each
release is installed when missing and started several times: with an API key, to be drained, with a short queue, to be
paused, and as a pooling model.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tools.localcluster import settings
from tools.localcluster.report import say, step
from tools.vllm_releases.environment import Environment, install
from tools.vllm_releases.raw_exchange import Call, Exchange, send, wait_until
from tools.vllm_releases.running import MODEL, RunningVLLM
from tools.vllm_releases.serving import NotServingError

TABLES = settings.REPOSITORY / "operator" / "vllm_operator" / "vllm" / "releases"
FOLDER = settings.REPOSITORY / "tests" / "data" / "client"
KEY = "key-of-the-recording"
AUTHORIZED = {"authorization": f"Bearer {KEY}"}
MAX_MODEL_LEN = 512
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SILENT_SECONDS = 5.0
"""A frozen engine sends nothing for this long."""
LONG = 480
"""Tokens of a request that is still running when something happens to its server: near the whole context."""

Json = dict[str, Any]
Recording = dict[str, Json]


def chat(text: str = "hello", **more: Any) -> Json:
    """Return the body of a chat request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 4, "temperature": 0, **more}


def long_chat(**more: Any) -> Json:
    """Return the body of a chat request that runs until the context is full."""
    return chat("hi", max_tokens=LONG, ignore_eos=True, **more)


def prompt(**more: Any) -> Json:
    """Return the body of a completion request."""
    return {"model": MODEL, "prompt": "hello", "max_tokens": 4, "temperature": 0, **more}


USAGE: Json = {"stream": True, "stream_options": {"include_usage": True}}
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
IMAGE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
PLAIN_CASES: dict[str, Call] = {
    "chat": Call("POST", CHAT, chat()),
    "chat stream": Call("POST", CHAT, chat(**USAGE)),
    "chat stream without usage": Call("POST", CHAT, chat(stream=True)),
    "chat of two choices": Call("POST", CHAT, chat(n=2, temperature=1.0)),
    "chat with logprobs": Call("POST", CHAT, chat(logprobs=True, top_logprobs=2)),
    "completion": Call("POST", COMPLETIONS, prompt()),
    "completion stream": Call("POST", COMPLETIONS, prompt(**USAGE)),
    "tokenize": Call("POST", "/tokenize", {"model": MODEL, "prompt": "hello world"}),
    "tokenize chat": Call("POST", "/tokenize", {"model": MODEL, "messages": chat()["messages"]}),
    "detokenize": Call("POST", "/detokenize", {"model": MODEL, "tokens": [40, 41]}),
    "models": Call("GET", "/v1/models"),
    "version": Call("GET", "/version"),
    "health": Call("GET", "/health"),
    "unknown model": Call("POST", CHAT, chat(model="mistral")),
    "unknown model in a stream": Call("POST", CHAT, chat(model="mistral", stream=True)),
    "unknown model of a completion": Call("POST", COMPLETIONS, prompt(model="mistral")),
    "unknown model of tokenize": Call("POST", "/tokenize", {"model": "mistral", "prompt": "hello"}),
    "prompt too long": Call("POST", CHAT, chat("word " * 2 * MAX_MODEL_LEN)),
    "prompt too long in a stream": Call("POST", CHAT, chat("word " * 2 * MAX_MODEL_LEN, stream=True)),
    "prompt too long for a completion": Call("POST", COMPLETIONS, prompt(prompt="word " * 2 * MAX_MODEL_LEN)),
    "prompt and max_tokens too long": Call("POST", CHAT, chat("word " * 60, max_tokens=MAX_MODEL_LEN - 20)),
    "max_tokens too large": Call("POST", CHAT, chat(max_tokens=4096)),
    "max_tokens too large for a completion": Call("POST", COMPLETIONS, prompt(max_tokens=4096)),
    "max_tokens below zero": Call("POST", CHAT, chat(max_tokens=-1)),
    "temperature below zero": Call("POST", CHAT, chat(temperature=-1)),
    "temperature of text": Call("POST", CHAT, chat(temperature="hot")),
    "top_p above one": Call("POST", CHAT, chat(top_p=2)),
    "n of zero": Call("POST", CHAT, chat(n=0)),
    "unknown role": Call("POST", CHAT, chat(messages=[{"role": "wizard", "content": "hi"}])),
    "no messages": Call("POST", CHAT, {"model": MODEL}),
    "empty messages": Call("POST", CHAT, chat(messages=[])),
    "empty prompt": Call("POST", COMPLETIONS, prompt(prompt="")),
    "too many logprobs": Call("POST", CHAT, chat(logprobs=True, top_logprobs=1000)),
    "tools without a parser": Call("POST", CHAT, chat(tools=[TOOL], tool_choice="auto")),
    "image for a text model": Call("POST", CHAT, chat(messages=[{"role": "user", "content": IMAGE}])),
    "bad schema": Call(
        "POST", CHAT,
        chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nothing"}}}),
    ),
    "stream_options without a stream": Call("POST", CHAT, chat(stream_options={"include_usage": True})),
    "body that is no JSON": Call("POST", CHAT, '{"model": '),
    "content type of text": Call("POST", CHAT, chat(), {"content-type": "text/plain"}),
    "unknown path": Call("POST", "/v1/nothing", chat()),
    "wrong method": Call("GET", CHAT),
    "embeddings of a text model": Call("POST", "/v1/embeddings", {"model": MODEL, "input": "hello"}),
    "score of a text model": Call("POST", "/score", {"model": MODEL, "text_1": "a", "text_2": "b"}),
    "rerank of a text model": Call("POST", "/rerank", {"model": MODEL, "query": "a", "documents": ["b"]}),
    "unknown LoRA": Call("POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/a"}),
}  # fmt: skip
KEY_CASES: dict[str, Call] = {
    "no key": Call("POST", CHAT, chat()),
    "wrong key": Call("POST", CHAT, chat(), {"authorization": "Bearer wrong"}),
    "no key in a stream": Call("POST", CHAT, chat(stream=True)),
    "models without a key": Call("GET", "/v1/models"),
    "tokenize without a key": Call("POST", "/tokenize", {"model": MODEL, "prompt": "hello"}),
}
POOLING_CASES: dict[str, Call] = {
    "embeddings": Call("POST", "/v1/embeddings", {"model": MODEL, "input": ["hello", "world"], "dimensions": None}),
    "embeddings in base64": Call(
        "POST", "/v1/embeddings", {"model": MODEL, "input": "hello", "encoding_format": "base64"}
    ),
    "embeddings too long": Call("POST", "/v1/embeddings", {"model": MODEL, "input": "word " * 2 * MAX_MODEL_LEN}),
    "score": Call("POST", "/score", {"model": MODEL, "text_1": "hello", "text_2": ["world", "moon"]}),
    "rerank": Call("POST", "/rerank", {"model": MODEL, "query": "hello", "documents": ["world", "moon"]}),
    "chat with a pooling model": Call("POST", CHAT, chat()),
    "completion with a pooling model": Call("POST", COMPLETIONS, prompt()),
}


def main() -> None:
    """Record the releases that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tools.vllm_releases.record_answers", description=__doc__)
    parser.add_argument("releases", nargs="*", default=[settings.VLLM])
    parser.add_argument("--only", choices=sorted(PARTS), help="record one part again")
    parser.add_argument("--remove", action="store_true", help="remove the environment afterwards")
    options = parser.parse_args()
    for release in options.releases:
        environment = install(release)
        with step(f"answers of vLLM {release} recorded", announce=True):
            for part in [options.only] if options.only else list(PARTS):
                record(environment, part)
        if options.remove:
            environment.remove()


def record(environment: Environment, part: str) -> None:
    """Record one part, if this release can run it."""
    try:
        write(environment.release, PARTS[part](environment))
    except NotServingError as error:
        say(f"vLLM {environment.release} cannot run the part {part}: {str(error)[-400:]}")


def write(release: str, found: Recording) -> None:
    """Add exchanges to the recording of a release."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{release}.json"
    former = json.loads(path.read_text())["exchanges"] if path.exists() else {}
    document = {"vllm": release, "exchanges": dict(sorted({**former, **found}.items()))}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    say(f"vLLM {release}: {len(found)} answers recorded")


def _all(server: RunningVLLM, cases: dict[str, Call], headers: dict[str, str]) -> Recording:
    found = {}
    for name, call in cases.items():
        own = Call(call.method, call.path, call.body, {**headers, **call.headers})
        found[name] = send(server.port, own).as_json()
    return found


def plain(environment: Environment) -> Recording:
    """Record answers and refusals of a server with an API key."""
    with RunningVLLM(environment, "--max-model-len", str(MAX_MODEL_LEN), "--api-key", KEY) as server:
        found = _all(server, PLAIN_CASES, AUTHORIZED) | _all(server, KEY_CASES, {})
        return {**found, "aborted stream": _abort(server)}


def broken(environment: Environment) -> Recording:
    """Record a server whose engine freezes, and then dies."""
    found: Recording = {}
    with RunningVLLM(environment, "--max-model-len", str(MAX_MODEL_LEN), "--api-key", KEY) as server:
        server.signal_engine(signal.SIGSTOP)
        quiet: Json = {"headers": AUTHORIZED, "wait_seconds": SILENT_SECONDS}
        found["frozen engine"] = send(server.port, Call("POST", CHAT, chat(), **quiet)).as_json()
        found["frozen engine in a stream"] = send(server.port, Call("POST", CHAT, chat(**USAGE), **quiet)).as_json()
        found["health of a frozen engine"] = send(server.port, Call("GET", "/health", **quiet)).as_json()
        server.signal_engine(signal.SIGCONT)
        time.sleep(1)
        found |= _with_running(server, lambda: server.signal_engine(signal.SIGKILL), "engine killed")
        wait_until(lambda: not server.is_running(), 10)
        found["chat after the engine died"] = send(server.port, Call("POST", CHAT, chat(), AUTHORIZED)).as_json()
        return found


def _abort(server: RunningVLLM) -> Json:
    """Close a stream after its first bytes, and keep how the engine's metrics count it."""
    first = send(server.port, Call("POST", CHAT, long_chat(**USAGE), AUTHORIZED, keep_bytes=1))

    def metrics() -> list[str]:
        text = send(server.port, Call("GET", "/metrics", keep_bytes=1 << 20)).body
        return re.findall(r"^vllm:(?:num_requests_running|request_success_total)\{.*$", text, re.MULTILINE)

    wait_until(lambda: any(re.match(r"vllm:num_requests_running\{.* 0\.0$", line) for line in metrics()), 10)
    time.sleep(1)
    return {**first.as_json(), "metrics": metrics()}


def _with_running(server: RunningVLLM, happens: Callable[[], None], name: str) -> Recording:
    """Record a stream and a plain request that are running when something happens to their server."""
    found: Recording = {}
    plain_one: list[Exchange] = []
    request = Call("POST", CHAT, long_chat(), AUTHORIZED, wait_seconds=20)
    thread = threading.Thread(target=lambda: plain_one.append(send(server.port, request)))
    thread.start()
    time.sleep(0.3)
    stream = Call("POST", CHAT, long_chat(**USAGE), AUTHORIZED, during=happens, wait_seconds=20)
    found[f"stream, {name}"] = send(server.port, stream).as_json()
    thread.join()
    found[f"chat, {name}"] = plain_one[0].as_json()
    return found


def draining(environment: Environment) -> Recording:
    """Record a server that gets SIGTERM while a stream runs: the stream, new requests, and its health."""
    arguments = ["--max-model-len", "2048", *_if_known(environment, "--shutdown-timeout", "30")]
    found: Recording = {}
    with RunningVLLM(environment, *arguments) as server:

        def terminate() -> None:
            server.terminate()
            time.sleep(0.7)
            for name, call in {
                "chat while draining": Call("POST", CHAT, chat(), wait_seconds=SILENT_SECONDS),
                "stream while draining": Call("POST", CHAT, chat(**USAGE), wait_seconds=SILENT_SECONDS),
                "models while draining": Call("GET", "/v1/models", wait_seconds=SILENT_SECONDS),
                "health while draining": Call("GET", "/health", wait_seconds=SILENT_SECONDS),
            }.items():
                found[name] = send(server.port, call).as_json()

        body = {**long_chat(**USAGE), "max_tokens": 1900}
        found["stream, server drained"] = send(
            server.port, Call("POST", CHAT, body, during=terminate, wait_seconds=15, keep_bytes=1 << 22)
        ).as_json()
    for name in ("stream, server drained",):
        found[name]["body"] = shortened(found[name]["body"])
    return found


def queue_full(environment: Environment) -> Recording:
    """Record a server whose queue is full, in the releases that bound it."""
    bound = _if_known(environment, "--max-num-queued-reqs", "1")
    if not bound:
        return {}
    with RunningVLLM(environment, "--max-model-len", "2048", "--max-num-seqs", "1", *bound) as server:
        fillers = [Call("POST", CHAT, {**long_chat(stream=True), "max_tokens": 1900}, keep_bytes=1 << 22)] * 2
        threads = [threading.Thread(target=send, args=(server.port, call), daemon=True) for call in fillers]
        for thread in threads:
            thread.start()
            time.sleep(0.5)
        cases = {"queue full": Call("POST", CHAT, chat()), "queue full in a stream": Call("POST", CHAT, chat(**USAGE))}
        return _all(server, cases, {})


def paused(environment: Environment) -> Recording:
    """Record a server in development mode that is put to sleep, and one whose requests are aborted by a pause."""
    # `--enable-sleep-mode` ends the start on a CPU; without it, /sleep still stops the scheduler.
    with RunningVLLM(environment, "--max-model-len", "2048", env={"VLLM_SERVER_DEV_MODE": "1"}) as server:
        quiet = SILENT_SECONDS
        found: Recording = {}

        def pause() -> None:
            found["pause"] = send(server.port, Call("POST", "/pause?mode=abort", wait_seconds=quiet)).as_json()

        found |= _with_running(server, pause, "requests aborted by a pause")
        found["chat while paused"] = send(server.port, Call("POST", CHAT, chat(), wait_seconds=quiet)).as_json()
        found["resume"] = send(server.port, Call("POST", "/resume", wait_seconds=quiet)).as_json()
        found["sleep"] = send(server.port, Call("POST", "/sleep?level=1", wait_seconds=quiet)).as_json()
        found["is sleeping"] = send(server.port, Call("GET", "/is_sleeping", wait_seconds=quiet)).as_json()
        found["chat while sleeping"] = send(server.port, Call("POST", CHAT, chat(), wait_seconds=quiet)).as_json()
    for exchange in found.values():
        exchange["body"] = shortened(exchange["body"])
    return found


def pooling(environment: Environment) -> Recording:
    """Record a model that embeds."""
    arguments = _if_known(environment, "--runner", "pooling") or ["--task", "embed"]
    with RunningVLLM(environment, "--max-model-len", str(MAX_MODEL_LEN), *arguments) as server:
        return _all(server, POOLING_CASES, {})


def shortened(body: str) -> str:
    """Return a stream without its events in the middle."""
    events = body.split("\n\n")
    return body if len(events) < 12 else "\n\n".join([*events[:3], ": ... cut", *events[-6:]])


def _if_known(environment: Environment, flag: str, *values: str) -> list[str]:
    """Return a flag and its value when the table of this release has the flag."""
    table = json.loads((TABLES / f"{environment.release.partition('.post')[0]}.json").read_text())
    return [flag, *values] if flag in table["flags"] else []


PARTS: dict[str, Callable[[Environment], Recording]] = {
    "plain": plain,
    "broken": broken,
    "draining": draining,
    "queue": queue_full,
    "paused": paused,
    "pooling": pooling,
}


if __name__ == "__main__":
    main()
