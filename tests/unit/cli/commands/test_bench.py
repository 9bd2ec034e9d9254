from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.helpers.fake_vllm_server import FakeVLLMServer
from tests.helpers.plugin import Ended, plugin
from tests.unit.benchmark.sample_report import report
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
