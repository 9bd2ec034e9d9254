"""Missing parts are built side by side, and one that fails takes no other with it."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.localcluster import parts
from tools.localcluster.errors import ClusterError
from tools.localcluster.parts import Part
from tools.localcluster.settings import Folders
from tools.localcluster.shell import run

Build = Callable[[Folders], object]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(cache=tmp_path / "cache", state=tmp_path / "state")


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace all parts by those that a test adds: each leaves a folder of its name when its build succeeds."""
    monkeypatch.setattr(parts, "PARTS", {})

    def add_part(name: str, build: Build = lambda folders: None, seconds: float = 10, is_longest: bool = False) -> None:
        def build_and_keep(folders: Folders) -> None:
            build(folders)
            (folders.programs / name).mkdir(parents=True)

        parts.PARTS[name] = Part(
            name, name, seconds, lambda folders: (folders.programs / name).is_dir(), build_and_keep, is_longest
        )

    return add_part


def test_parts_are_built_at_the_same_time(folders: Folders, add: Callable[..., None]) -> None:
    meeting = threading.Barrier(3, timeout=30)
    for name in ("kubernetes", "containerd", "coredns"):
        add(name, lambda _: meeting.wait())
    parts.build_missing(parts.PARTS, folders)
    assert parts.missing(parts.PARTS, folders) == []


def test_failure_is_reported_after_the_others_are_built(folders: Folders, add: Callable[..., None]) -> None:
    failed = threading.Event()

    def fail(_: Folders) -> None:
        failed.set()
        raise ClusterError("no route to the module proxy")

    add("containerd", fail)
    add("kubernetes", lambda _: failed.wait(30))
    with pytest.raises(ClusterError, match="no route to the module proxy"):
        parts.build_missing(parts.PARTS, folders)
    assert [part.name for part in parts.missing(parts.PARTS, folders)] == ["containerd"]


def test_next_run_builds_only_what_failed(folders: Folders, add: Callable[..., None]) -> None:
    built: list[str] = []
    for name in ("kubernetes", "containerd"):
        add(name, lambda _, name=name: built.append(name))
    (folders.programs / "kubernetes").mkdir(parents=True)
    parts.build_missing(parts.PARTS, folders)
    assert built == ["containerd"]


def test_only_the_longest_build_has_the_usual_priority(folders: Folders, add: Callable[..., None]) -> None:
    priorities: dict[str, int] = {}
    ask = [sys.executable, "-c", "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"]

    def record(name: str) -> Build:
        return lambda _: priorities.__setitem__(name, int(run(ask)))

    add("kubernetes", record("kubernetes"), is_longest=True)
    add("containerd", record("containerd"))
    parts.build_missing(parts.PARTS, folders)
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert priorities == {"kubernetes": usual, "containerd": max(usual, parts.BACKGROUND_NICENESS)}


def test_interrupt_ends_the_programs_of_all_builds(
    folders: Folders, add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = threading.Barrier(3, timeout=30)

    def sleep(_: Folders) -> None:
        running.wait()
        run([sys.executable, "-c", "import time; time.sleep(600)"])

    add("kubernetes", sleep)
    add("containerd", sleep)
    join = threading.Thread.join

    def interrupt(thread: threading.Thread, timeout: float | None = None) -> None:
        if timeout is None:
            running.wait()
            time.sleep(0.5)
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        parts.build_missing(parts.PARTS, folders)
    assert time.monotonic() - began < 300
    assert len(parts.missing(parts.PARTS, folders)) == 2


def test_build_that_waits_for_an_interrupted_one_does_not_start(
    folders: Folders, add: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, begun = threading.Lock(), threading.Event()
    started: list[None] = []

    def build(_: Folders) -> None:
        with lock:
            begun.set()
            started.append(None)
            run([sys.executable, "-c", "import time; time.sleep(600)"])
            started.append(None)

    add("vllm-image", build)
    add("operator-image", build)
    join = threading.Thread.join

    def interrupt(thread: threading.Thread, timeout: float | None = None) -> None:
        if timeout is None:
            begun.wait(30)
            time.sleep(0.5)
            raise KeyboardInterrupt
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", interrupt)
    with pytest.raises(KeyboardInterrupt):
        parts.build_missing(parts.PARTS, folders)
    assert not lock.locked()
    assert len(started) == 2, "both got the lock, and neither program ran to its end"
    assert [thread for thread in threading.enumerate() if thread.name in parts.PARTS] == []


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((532, 64, 75), 532), ((100, 100, 100), 225), ((10,), 10)],
    ids=["the longest", "three quarters of all", "one alone"],
)
def test_time_of_builds_side_by_side(
    folders: Folders,
    add: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, ...],
    expected: float,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: parts.MEASURED_CORES)
    for index, value in enumerate(seconds):
        add(f"part-{index}", seconds=value)
    assert parts.expected_seconds(list(parts.PARTS.values()), folders) == expected


def test_measured_time_of_a_set_of_builds_is_used(folders: Folders, add: Callable[..., None]) -> None:
    for name in ("kubernetes", "containerd"):
        add(name, seconds=400)
    found = list(parts.PARTS.values())
    parts.build_missing(parts.PARTS, folders)
    assert parts.expected_seconds(found, folders) < 30


def test_demo_and_tests_name_parts_that_exist() -> None:
    assert {name for names in parts.PURPOSES.values() for name in names} <= set(parts.PARTS)
    assert set(parts.API_TEST) <= set(parts.PURPOSES["test"])
