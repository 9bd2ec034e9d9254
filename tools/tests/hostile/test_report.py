from __future__ import annotations

import pytest

from tools.hostile.report import ROWS, Row, failures, kinds_table, ratio, slow, table

P99 = next(row for row in ROWS if row.name == "reconcile_p99_ms")
CALM = {"reconcile_p99_ms": 40.0, "stalled_seconds": 30.0, "rss_peak_mib": 100.0, "restarts": 0}


def test_ratio_divides_hostile_by_calm() -> None:
    assert ratio(P99, 40.0, 60.0) == 1.5


def test_values_below_the_resolution_count_as_the_resolution() -> None:
    assert ratio(Row("late", "late", 10.0), 0.0, 9.0) == 1.0
    assert ratio(Row("late", "late", 10.0), 0.0, 20.0) == 2.0


@pytest.mark.parametrize(("calm", "hostile"), [(None, 1.0), (1.0, None)])
def test_missing_value_has_no_ratio(calm: float | None, hostile: float | None) -> None:
    assert ratio(P99, calm, hostile) is None


def test_table_shows_each_row_with_its_ratio() -> None:
    lines = table(CALM, {**CALM, "reconcile_p99_ms": 80.0, "stalled_seconds": None}).splitlines()

    assert len(lines) == 2 + len(ROWS) + 2
    assert "| good tenant: reconcile p99 (ms) | 1.5x | 40.0 | 80.0 | 2.0x |" in lines
    assert "| good tenant: stalled engine reported after (s) | 1.5x | 30.0 | not seen |  |" in lines


def test_reconciles_are_compared_with_the_yardstick() -> None:
    calm = {"reconcile_p50_ms": 20.0, "yardstick_p50_ms": 10.0}
    hostile = {"reconcile_p50_ms": 60.0, "yardstick_p50_ms": 20.0}

    assert table(calm, hostile).endswith("over B/A of the yardstick: p50 1.5x, p99 not seen")


def test_ratio_above_the_goal_and_missing_values_are_reported_as_slow() -> None:
    found = slow(CALM, {**CALM, "reconcile_p99_ms": 80.0, "stalled_seconds": None})

    assert "good tenant: reconcile p99 (ms): 2.0x" in found
    assert "good tenant: stalled engine reported after (s): not seen" in found


def test_slowness_alone_is_no_failure() -> None:
    assert failures(CALM, {**CALM, "reconcile_p99_ms": 9_000.0, "stalled_seconds": None}) == []


@pytest.mark.parametrize("key", ["rss_peak_mib", "restart_peak_mib"])
def test_memory_above_the_limit_is_a_failure(key: str) -> None:
    [found] = failures(CALM, {**CALM, key: 513.0})

    assert key in found


def test_operator_that_ended_is_a_failure() -> None:
    [found] = failures(CALM, {**CALM, "restarts": 2})

    assert "2 times" in found


def test_kinds_table_has_a_row_for_each_kind() -> None:
    row = {"kind": "c1", "what": "x", "pods": 1, "asked": 5, "sent_mib": 4.0, "writes": 2, "refused": 0}

    assert kinds_table([row]).splitlines()[2] == "| c1 | x | 1 | 5 | 4.0 | 2 | 0 |"


def test_operator_that_does_not_restart_is_a_failure() -> None:
    [found] = failures(CALM, {**CALM, "restart_error": "the operator ended"})

    assert "did not restart: the operator ended" in found
