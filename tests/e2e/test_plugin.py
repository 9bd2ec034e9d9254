"""The kubectl plugin on a real cluster with real vLLM: a server that serves, and one that cannot start."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import wait_ready
from tests.helpers.plugin import Ended, plugin
from tools.harness.in_cluster import TOKEN, InCluster
from tools.harness.real_cluster import RealCluster, cpu_server

KEY = "key-of-the-tests"
BROKEN = "too-long"
Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def run(inside: InCluster, gated: str) -> Run:
    """Run the plugin in the namespace of the tests, and print what it prints."""

    def command(*words: str, **options: Any) -> Ended:
        ended = plugin(*words, "-n", inside.namespace, "--kubeconfig", str(inside.kube.kubeconfig), **options)
        print(f"$ kubectl vllm {' '.join(words)}\n{ended.stdout}{ended.stderr}(exit code {ended.code})\n")
        return ended

    return command


@pytest.fixture(scope="module")
def serving(inside: InCluster, gated: str) -> str:
    wait_ready(inside, gated)
    return gated


@pytest.fixture(scope="module")
def broken(cluster: RealCluster, inside: InCluster, serving: str) -> str:
    """A server whose vLLM refuses its context length, and ends."""
    engine = {"maxModelLen": 100_000, "enforceEager": True}
    inside.kube.apply(
        cpu_server(cluster, BROKEN, {"model": {"uri": "file:///models/tiny"}, "engine": engine}),
        namespace=inside.namespace,
    )
    return BROKEN


def test_chat_streams_an_answer_with_the_key_of_the_secret(run: Run, serving: str, broken: str) -> None:
    """It runs while vLLM of the broken server starts and fails."""
    ended = run("chat", serving, "Say", "hello", "--max-tokens", "12", "--temperature", "0")
    assert ended.code == 0, ended.text
    assert ended.stdout.strip()
    assert "12 generated tokens" in ended.stderr
    assert "first token after" in ended.stderr
    assert KEY not in ended.text


def test_completion_is_printed_as_json(run: Run, serving: str) -> None:
    ended = run("complete", serving, "-o", "json", "--max-tokens", "5", stdin="Once upon a time")
    # A model with random weights may end its answer before the limit.
    assert 1 <= json.loads(ended.stdout)["usage"]["completion_tokens"] <= 5


def test_request_that_vllm_refuses_shows_its_words(run: Run, serving: str) -> None:
    ended = run("chat", serving, "x " * 2000)
    assert ended.code == 1
    assert "512" in ended.stderr
    ended = run("chat", serving, "x", "--model", "other")
    assert ended.code == 1
    assert "other" in ended.stderr


def test_status_and_top_show_the_load_of_the_engine(run: Run, serving: str) -> None:
    text = run("status", serving).stdout
    assert "running 0, waiting 0, KV cache 0.0%" in text
    assert "Ready=True" in text
    [line] = json.loads(run("top", serving, "-o", "json").stdout)
    assert line["load"]["generated"] >= 12
    assert "Serving" in run("top", serving).stdout


def test_get_wait_doctor_and_check_of_a_serving_server(run: Run, serving: str) -> None:
    assert run("get").code == 0
    assert run("wait", serving, "--timeout", "5s").stdout == f"{serving}: Ready\n"
    ended = run("doctor", serving)
    assert ended.code == 0
    assert "operator  ok" in ended.stdout
    assert "problem" not in ended.stdout
    items = json.loads(run("check", serving, "-o", "json").stdout)[0]["items"]
    levels = {item["id"]: item["level"] for item in items}
    assert (levels["api-key"], levels["model-cache"]) == ("pass", "pass")
    assert run("check", "--cluster").code == 0


def test_logs_of_a_serving_server_are_those_of_vllm(run: Run, serving: str) -> None:
    ended = run("logs", serving, "--tail", "400")
    assert "vLLM" in ended.stdout
    assert TOKEN not in ended.text


def test_wait_ends_with_the_cause_of_a_server_that_cannot_start(run: Run, broken: str) -> None:
    ended = run("wait", broken, "--timeout", "90s")
    assert ended.code == 1
    assert "too-long: Stalled (" in ended.stderr
    assert "set engine.maxModelLen to 2048 or less" in ended.stderr


def test_logs_show_the_former_run_of_a_server_that_cannot_start(run: Run, broken: str) -> None:
    ended = run("logs", broken)
    assert ended.code == 0
    assert "former run, exit code 1" in ended.stderr
    assert "set engine.maxModelLen to 2048 or less" in ended.stderr
    assert "max_model_len" in ended.stdout


def test_chat_with_a_server_that_cannot_start_names_the_cause(run: Run, broken: str) -> None:
    ended = run("chat", broken, "hello")
    assert ended.code == 1
    assert f"no replica of {broken} serves: " in ended.stderr
    assert "set engine.maxModelLen" in ended.stderr
    assert run("doctor", broken).code == 1


def test_report_holds_logs_and_no_secret(run: Run, serving: str, broken: str, tmp_path: Path) -> None:
    path = tmp_path / "report.zip"
    assert run("report", "-o", str(path)).code == 0
    with zipfile.ZipFile(path) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert [name for name in texts if name.endswith(".log") and serving in name]
    assert [name for name, text in texts.items() if KEY in text or TOKEN in text] == []


def test_restart_replaces_the_replica(run: Run, inside: InCluster, serving: str, broken: str) -> None:
    inside.kube.kubectl("-n", inside.namespace, "delete", "vllmserver", broken, "--wait=false")
    assert run("scale", serving, "--replicas", "1", "--dry-run").code == 0
    assert run("pause", serving).stdout == f"{serving}: spec.paused: false -> true\n"
    assert run("resume", serving).stdout == f"{serving}: spec.paused: true -> false\n"
    assert "restartedAt" in run("restart", serving, "--dry-run").stdout
