"""`kubectl vllm bench` on a server whose autoscaler adds a replica during the load."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.plugin.program import Program
from vllm_operator.benchmark.report import from_json

SECONDS = int(os.environ.get("PLUGIN_BENCH_SECONDS", "240"))
"""Length of the load that makes the autoscaler add a replica, which must have time to load."""

LOAD = ("--prompt-words", "24", "--output-tokens", "64", "--seed", "7")


def test_bench_shows_load_replicas_autoscaler_and_phases_of_the_same_seconds(
    program: Program, serving: str, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("PLUGIN_BENCH", tmp_path))
    loads = ("--load", "concurrent=8", "--duration", f"{SECONDS}s")
    ended = program.run("bench", serving, *loads, *LOAD, "--output-dir", str(folder / "bench-1"))
    assert ended.code == 0, ended.text
    report = from_json((folder / "bench-1" / "report.json").read_text())
    assert report.about["version"] == "0.32.0"
    assert [figures.failed for figures in report.figures] == [0]
    samples = [sample for sample in report.samples if sample.replicas is not None]
    assert len(samples) > 60
    assert {sample.target for sample in samples} == {2.0}
    assert max(sample.average or 0 for sample in samples) > 2
    assert max(sample.waiting or 0 for sample in samples) > 0
    assert [samples[0].wanted, samples[-1].wanted] == [1, 2]
    assert [samples[0].replicas, samples[-1].replicas] == [1, 2]
    phases = {phase for sample in samples for phase in sample.phases}
    assert {"Serving"} < phases
    assert "each of 2 replicas" in report.notes[0]
    # Both engines together run more requests than one of them can.
    assert max(sample.running or 0 for sample in samples) > 4
    names = {"report.html", "report.png", "report.json", "requests.csv", "samples.csv"}
    assert {path.name for path in (folder / "bench-1").iterdir()} == names


def test_conversations_and_rates_are_measured_and_compared(program: Program, serving: str, tmp_path: Path) -> None:
    loads = ("--load", "turns=2", "--load", "poisson=0.5", "--load", "constant=0.5", "--duration", "10s")
    for name in ("a", "b"):
        ended = program.run("bench", serving, *loads, *LOAD, "--output-dir", str(tmp_path / name), "--format", "json")
        assert ended.code == 0, ended.text
    ended = program.run("bench", "--compare", str(tmp_path / "a/report.json"), str(tmp_path / "b/report.json"))
    assert ended.code in {0, 1}
    assert "turns=2" in ended.stdout
    assert "poisson=0.5" in ended.stdout


def test_ctrl_c_prints_what_was_measured(program: Program, serving: str) -> None:
    ended = program.on_terminal("bench", serving, "--load", "concurrent=2", "--duration", "5m", *LOAD, after="requests")
    assert ended.code == 130
    assert "ctrl-C ended the measurement early" in ended.stdout
    assert "Traceback" not in ended.stdout
