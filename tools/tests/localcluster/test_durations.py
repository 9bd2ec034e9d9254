"""Durations of finished work are remembered, those of failed and resumed work are not."""

import time
from pathlib import Path

import pytest

from tools.localcluster.durations import Durations


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let each piece of work take the next number of seconds."""
    times: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: times.pop(0))
    return times


def test_last_duration_replaces_the_default(tmp_path: Path, clock: list[float]) -> None:
    remembered = Durations(tmp_path / "durations")
    assert remembered.seconds("unit", 120) == 120
    for seconds in (90.0, 60.0):
        clock.extend([0.0, seconds])
        with remembered.measured("unit"):
            pass
        assert remembered.seconds("unit", 120) == seconds


def test_resumed_build_does_not_replace_a_whole_one(tmp_path: Path, clock: list[float]) -> None:
    remembered = Durations(tmp_path)
    for seconds in (500.0, 60.0):
        clock.extend([0.0, seconds])
        with remembered.measured("kubernetes", keep_longest=True):
            pass
    assert remembered.seconds("kubernetes", 532) == 500


def test_failed_work_is_not_remembered(tmp_path: Path) -> None:
    remembered = Durations(tmp_path)
    with pytest.raises(ZeroDivisionError), remembered.measured("unit"):
        raise ZeroDivisionError
    assert remembered.seconds("unit", 120) == 120


def test_unreadable_record_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "unit.seconds").write_text("")
    assert Durations(tmp_path).seconds("unit", 120) == 120
