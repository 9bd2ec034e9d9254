from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import FakeVLLMServer
from tests.helpers.plugin import Ended, plugin
from tests.helpers.signals import default_interrupt
from tests.unit.benchmark.sample_report import report
from tests.unit.cli.commands.conftest import Run
from vllm_operator.benchmark.report import as_json, from_json

SHORT = ("--duration", "20s", "--requests", "4", "--prompt-words", "4", "--output-tokens", "2")


async def bench(server: FakeVLLMServer, *arguments: str) -> Ended:
    return await asyncio.to_thread(plugin, "bench", "--url", server.url, *SHORT, *arguments)


async def test_figures_are_printed_and_the_report_is_written(tmp_path: Path) -> None:
    async with FakeVLLMServer() as server:
        ended = await bench(server, "--load", "sweep=1,2", "--output-dir", str(tmp_path))
    assert ended.code == 0, ended.stderr
    assert "concurrent=2" in ended.stdout
    written = from_json((tmp_path / "report.json").read_text())
    assert written.about["model"] == "tiny"
    assert written.about["version"] == "0.32.0"
    assert [figures.requests for figures in written.figures] == [4, 4]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


async def test_failed_requests_are_named_and_none_answered_ends_with_1() -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "out of order", "code": 500}}, status=500)

    async with FakeVLLMServer() as server:
        server.answers["/v1/completions"] = refuse
        ended = await bench(server, "--load", "concurrent=1")
    assert ended.code == 1
    assert "concurrent=1: 4 requests failed: " in ended.stderr
    assert "out of order" in ended.stderr
    assert "no request was answered" in ended.stderr


def test_a_server_that_does_not_answer_is_named() -> None:
    ended = plugin("bench", "--url", "http://127.0.0.1:9", *SHORT)
    assert ended.code == 1
    assert "http://127.0.0.1:9 does not answer" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "name a server of the cluster, or give --url"),
        (("a", "--url", "http://x"), 2, "name a server of the cluster, or give --url"),
        (("--url", "http://x", "--load", "fast"), 2, "is no load: write concurrent=8"),
        (("--url", "file:///x"), 2, "--url: "),
        (("--url", "http://x", *(["--load", "sweep=" + ",".join(["1"] * 30)] * 2)), 2, "60 stages are more than 32"),
        (("--compare", "/no/such", "/no/such"), 2, "does not exist"),
    ],
)
def test_mistakes_are_usage_errors(arguments: tuple[str, ...], code: int, words: str) -> None:
    ended = plugin("bench", *arguments)
    assert ended.code == code
    assert words in ended.stderr


def test_guidellm_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    ended = plugin("bench", "--url", "http://127.0.0.1:9", "--generator", "guidellm")
    assert ended.code == 1
    assert "guidellm is not installed: pip install" in ended.stderr


def compared(folder: Path, factor: float) -> Ended:
    (folder / "a.json").write_text(as_json(report()))
    (folder / "b.json").write_text(as_json(report(factor)))
    return plugin("bench", "--compare", str(folder / "a.json"), str(folder / "b.json"))


def test_two_runs_are_compared(tmp_path: Path) -> None:
    assert compared(tmp_path, 1.0).code == 0
    worse = compared(tmp_path, 1.5)
    assert worse.code == 1
    assert "+50.0%  worse" in worse.stdout


def test_another_file_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"format": "x"}))
    ended = plugin("bench", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json"))
    assert ended.code == 1
    assert "give a report.json of kubectl vllm bench" in ended.stderr


def test_a_server_of_the_cluster_is_measured_through_a_tunnel(run: Run, vllm: FakeVLLMServer, tmp_path: Path) -> None:
    ended = run("bench", "mistral", *SHORT, "--load", "concurrent=2", "--output-dir", str(tmp_path))
    assert ended.code == 0, ended.stderr
    written = from_json((tmp_path / "report.json").read_text())
    assert written.about["server"] == "llm/mistral"
    assert written.samples[0].replicas == 1
    assert written.samples[0].phases == {"Serving": 1}
    assert written.samples[0].running is not None
    assert "port-forward to 1 replica" in written.notes[0]
    assert "load 1 of 1: concurrent=2, 20 s" in ended.stderr


def test_a_server_without_a_replica_is_not_measured(run: Run) -> None:
    ended = run("bench", "crashed", *SHORT)
    assert ended.code == 1
    assert "no replica of crashed serves: " in ended.stderr


async def test_figures_and_differences_are_printed_as_json(tmp_path: Path) -> None:
    async with FakeVLLMServer() as server:
        ended = await bench(server, "-o", "json", "--load", "turns=1")
    data = json.loads(ended.stdout)
    assert data["stages"][0]["latency"]["percentiles"].keys() == {"p50", "p90", "p95", "p99"}
    assert data["about"]["loads"] == ["turns=1"]
    assert "in later ones" in data["notes"][-1]
    (tmp_path / "a.json").write_text(as_json(report()))
    ended = plugin("bench", "-o", "json", "--compare", str(tmp_path / "a.json"), str(tmp_path / "a.json"))
    assert {one["verdict"] for one in json.loads(ended.stdout)["differences"]} == {"same"}


def started(*words: str) -> subprocess.Popen[str]:
    """Start the plugin as a process that ctrl-C ends."""
    return subprocess.Popen(
        [sys.executable, "-m", "vllm_operator.cli.entry", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_interrupt,
    )


async def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    async with FakeVLLMServer() as server:
        words = ["--load", "concurrent=1", "--duration", "5m", "--output-dir", str(tmp_path), "--format", "json"]
        process = started("bench", "--url", server.url, *words)
        await server.until(lambda: len(server.bodies("/v1/completions")) > 5, seconds=30)
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "ctrl-C ended the measurement early" in errors
    assert "concurrent=1" in output
    assert len(from_json((tmp_path / "report.json").read_text()).requests) >= 5


async def test_narrow_terminal_gets_a_row_for_each_figure() -> None:
    async with FakeVLLMServer() as server:
        words = ("bench", "--url", server.url, *SHORT, "--load", "concurrent=1")
        narrow = {"COLUMNS": "60", "NO_COLOR": "1", "TERM": "xterm"}
        ended = await asyncio.to_thread(plugin, *words, terminal=True, environment=narrow)
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert ["Requests", "4"] in rows
    assert [row[1] for row in rows if row[:1] == ["Latency"]] == ["p50", "p90", "p99"]
