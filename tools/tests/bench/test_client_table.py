from __future__ import annotations

from tools.bench.client_table import BASE, OURS, PLAIN, goal_rows, table


def entry(wall: float, rss: float = 50) -> dict[str, float]:
    return {"wall_ms": wall, "cpu_ms": wall, "rss_mib": rss}


def test_ratios_are_compared_with_the_goals() -> None:
    figures = {
        "answers": {BASE: entry(1), OURS: entry(1.4), PLAIN: entry(15)},
        "streams": {BASE: entry(1), OURS: entry(1.6)},
        "thousand": {OURS: entry(5, rss=301)},
        "import_seconds": {OURS: 0.2},
    }
    assert [(measured, verdict) for _, _, measured, verdict in goal_rows(figures)] == [
        ("1.40x", "met"), ("1.60x", "missed"), ("10.7x", "met"), ("301 MiB", "missed"), ("0.20 s", "met"),
    ]  # fmt: skip


def test_failed_client_shows_its_error_and_meets_no_goal() -> None:
    figures = {"answers": {BASE: entry(1), OURS: "ConnectError: refused"}}
    assert [verdict for *_, verdict in goal_rows(figures)] == ["missed"]
    assert "ConnectError: refused" in table(figures)
