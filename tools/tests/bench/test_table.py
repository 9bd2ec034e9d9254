"""The table shows the figures at rest, after a restart, and next to their floor."""

from __future__ import annotations

from tools.bench.table import table

CONVERGED = {
    "servers": 1,
    "children_per_server": 1,
    "pods": "pending",
    "converge_seconds": 1.0,
    "operator_cpu_ms_per_server": 1.0,
    "operator_rss_mib": 1,
    "writes_per_server": 2.0,
    "reads_per_server": 0.0,
}


def test_table_shows_writes_at_rest_and_after_a_restart() -> None:
    rest = {"seconds": 60, "lists": 0, "core_percent": 1.5, "writes": 7, "writes_by_target": {"leases": 5, "pods": 2}}
    restart = {"watched_seconds": 55, "writes": 0, "writes_by_target": {}}
    rows = table({**CONVERGED, "rest": rest, "restart": restart}).splitlines()
    at_rest = "| unchanged for 60 s | 0 writes, 0 lists, 1 % of a core "
    assert f"{at_rest}| 7 writes (leases 5, pods 2), 0 lists, 1.5 % of a core |" in rows
    assert "| restart | 0 writes, 10 s | 0 writes in 55 s |" in rows


def test_table_shows_when_this_operator_was_ready() -> None:
    rest = {"seconds": 60, "lists": 0, "core_percent": 1.5, "writes": 0, "writes_by_target": {}}
    restart = {"ready_seconds": 2.8, "watched_seconds": 53, "writes": 0, "writes_by_target": {}}
    rows = table({**CONVERGED, "rest": rest, "restart": restart}).splitlines()
    assert "| restart | 0 writes, 10 s | 0 writes in 53 s, ready after 2.8 s |" in rows


def test_minimal_repair_follows_the_row_that_it_is_the_floor_of() -> None:
    measured, floor = {"p50": 48, "max": 70}, {"p50": 30, "max": 41}
    latencies = {"latency_ms_alone": {"edit_reverted": measured}, "latency_ms_minimal_repair": {"edit_reverted": floor}}
    rest = {"seconds": 60, "lists": 0, "core_percent": 1.5, "writes": 0, "writes_by_target": {}}
    restart = {"watched_seconds": 53, "writes": 0, "writes_by_target": {}}
    rows = table({**CONVERGED, **latencies, "rest": rest, "restart": restart}).splitlines()
    at = rows.index("| edit reverted, alone (ms) | p50 20, max 1000 | p50 48, max 70 |")
    assert rows[at + 1] == "| the same by the minimal repair loop, alone (ms) |  | p50 30, max 41 |"
