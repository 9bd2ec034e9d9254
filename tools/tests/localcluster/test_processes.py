"""A remembered process is ended, and one that only has the same id is not."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tools.localcluster.errors import ClusterError
from tools.localcluster.processes import Processes, Record, boot_id, running_since, start_time

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def remember(processes: Processes, name: str, record: Record) -> None:
    processes.folder.mkdir(parents=True, exist_ok=True)
    (processes.folder / f"{name}.json").write_text(json.dumps(asdict(record)))


def test_start_time_is_found_behind_a_name_with_spaces_and_parentheses() -> None:
    fields = " ".join(str(number) for number in range(4, 30))
    assert start_time(f"7 (a) b (c)) S {fields}") == 22


def test_started_process_is_alive_until_it_is_stopped(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("sleeper", SLEEP)
    assert processes.alive("sleeper")
    processes.stop(["sleeper"])
    assert not processes.alive("sleeper")
    assert processes.names() == []


def test_start_leaves_a_running_process_alone(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("sleeper", SLEEP)
    first = processes.record("sleeper")
    processes.start("sleeper", SLEEP)
    assert processes.record("sleeper") == first
    processes.stop(["sleeper"])


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another"}])
def test_another_process_with_a_remembered_id_is_not_ended(tmp_path: Path, change: dict[str, object]) -> None:
    processes = Processes(tmp_path)
    with subprocess.Popen(SLEEP) as stranger:
        mine = Record(stranger.pid, running_since(stranger.pid) or 0, boot_id())
        remember(processes, "old", replace(mine, **change))  # type: ignore[arg-type]
        assert not processes.alive("old")
        processes.stop(["old"], gently=0.1)
        assert stranger.poll() is None
        os.kill(stranger.pid, signal.SIGKILL)


def test_half_written_record_counts_as_dead(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.folder.mkdir(parents=True)
    (processes.folder / "torn.json").write_text('{"pid": 1')
    assert not processes.alive("torn")


def test_early_death_is_reported_with_the_end_of_the_log(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("broken", [sys.executable, "-c", "print('no such option')"])
    with pytest.raises(ClusterError, match="no such option"):
        processes.await_ready("broken", lambda: False, 10)
