from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from tests.unit.benchmark.sample_report import report
from vllm_operator.benchmark.generator import Workload
from vllm_operator.benchmark.records import MeasuredRequest
from vllm_operator.benchmark.shapes import Stage
from vllm_operator.cli import measuring
from vllm_operator.cli.exits import CliError


def test_the_files_of_a_report(tmp_path: Path) -> None:
    paths = measuring.write_report(report(), tmp_path / "out", measuring.FORMATS)
    names = {"report.json", "requests.csv", "samples.csv", "report.html", "report.png"}
    assert {path.name for path in paths} == names
    assert all(path.stat().st_size > 100 for path in paths)
    assert [path.name for path in measuring.write_report(report(), tmp_path, ["json"])] == ["report.json"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CliError, match="choose another --output-dir"):
        measuring.write_report(report(), tmp_path / "file" / "x", ["json"])


def test_missing_libraries_are_named_before_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "altair":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CliError, match=r"pip install 'vllm-operator\[charts\]', or choose --format json"):
        measuring.check_formats(("html", "csv"))
    measuring.check_formats(("json", "csv"))


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_names_each_load_and_counts_on_a_terminal(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    shown: list[str] = []
    stages = (Stage("concurrent", 2), Stage("poisson", 0.5))
    progress = measuring.Progress(Workload(stages, 30, 0, 8), shown.append)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    progress.began(stages[0])
    progress.done(MeasuredRequest("concurrent=2", 0.0, None, 1.0, error="x"))
    progress.began(stages[1])
    assert shown[0] == "load 1 of 2: concurrent=2, 30 s"
    assert shown[-1] == "load 2 of 2: poisson=0.5, 30 s"
    assert [text for text in shown if "1 requests, 1 failed" in text] == ([shown[1]] if terminal else [])
