from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vllm_operator.cli.times import age, duration, parse_time


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (45, "45s"), (252, "4m12s"), (3600, "1h"), (90_000, "1d1h"), (86_400 * 30 + 5000, "30d"), (-5, "0s")],
)
def test_durations_have_two_units_at_most(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_age_is_the_time_since() -> None:
    assert age("2026-03-02T08:00:00Z", datetime(2026, 3, 2, 8, 4, tzinfo=UTC)) == "4m"


@pytest.mark.parametrize("text", [None, "", "yesterday", 3, "x" * 100, "2026-13-01T00:00:00Z"])
def test_other_texts_are_unknown(text: object) -> None:
    assert parse_time(text) is None
    assert age(text) == "<unknown>"
