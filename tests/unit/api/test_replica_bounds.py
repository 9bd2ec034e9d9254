"""Bounds of a schedule: open windows, overlaps, midnight, clocks that are set, and the next change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.replica_bounds import (
    BoundsInForce,
    ReplicaBounds,
    ScheduleError,
    all_bounds,
    bounds_in_force,
    check_window,
    may_sleep,
)

BERLIN = {"timeZone": "Europe/Berlin"}
OFFICE = {**BERLIN, "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "minReplicas": 4}
NIGHT = {**BERLIN, "start": "0 22 * * *", "durationSeconds": 8 * 3600, "maxReplicas": 2}


def scaling(*windows: dict[str, Any], **fields: Any) -> Autoscaling:
    return Autoscaling.model_validate({"maxReplicas": 10, **fields, "schedule": list(windows)})


def at(moment: str, *windows: dict[str, Any], **fields: Any) -> BoundsInForce:
    return bounds_in_force(scaling(*windows, **fields), utc(moment))


def utc(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


def test_without_a_schedule_the_bounds_never_change() -> None:
    found = at("2026-03-02T08:00")

    assert (found.bounds, found.until, found.following) == (ReplicaBounds(1, 10), None, None)
    assert found.holds_at(utc("2126-03-02T08:00"))


@pytest.mark.parametrize(
    ("moment", "bounds", "until"),
    [
        ("2026-03-02T06:59:59", ReplicaBounds(1, 10), "2026-03-02T07:00"),
        ("2026-03-02T07:00", ReplicaBounds(4, 10), "2026-03-02T17:00"),
        ("2026-03-02T16:59:59", ReplicaBounds(4, 10), "2026-03-02T17:00"),
        ("2026-03-02T17:00", ReplicaBounds(1, 10), "2026-03-03T07:00"),
        ("2026-03-06T17:00", ReplicaBounds(1, 10), "2026-03-09T07:00"),
        # Summer time begins on 29 March: 08:00 is an hour earlier from then on.
        ("2026-03-27T17:00", ReplicaBounds(1, 10), "2026-03-30T06:00"),
    ],
)
def test_office_hours_are_those_of_the_time_zone(moment: str, bounds: ReplicaBounds, until: str) -> None:
    found = at(moment, OFFICE)

    assert (found.bounds, found.until) == (bounds, utc(until))


def test_window_across_midnight_stays_open() -> None:
    assert at("2026-03-02T22:30", NIGHT).bounds == ReplicaBounds(1, 2)
    assert at("2026-03-03T04:59", NIGHT).bounds == ReplicaBounds(1, 2)
    assert at("2026-03-03T05:00", NIGHT).bounds == ReplicaBounds(1, 10)
    by_end = {**BERLIN, "start": "0 22 * * 5", "end": "0 6 * * 1", "minReplicas": 0}
    assert at("2026-03-08T12:00", by_end).bounds == ReplicaBounds(0, 10), "from Friday night until Monday"


def test_duration_counts_seconds_when_the_clocks_are_set() -> None:
    assert at("2026-03-29T04:59", NIGHT).bounds == ReplicaBounds(1, 2), "22:00 to 07:00, which are eight hours"
    assert at("2026-03-29T05:00", NIGHT).bounds == ReplicaBounds(1, 10)
    assert at("2026-10-25T03:59", NIGHT).bounds == ReplicaBounds(1, 2)
    assert at("2026-10-25T04:00", NIGHT).bounds == ReplicaBounds(1, 10), "22:00 to 05:00"


def test_start_in_the_hour_that_is_left_out_comes_after_it() -> None:
    window = {**BERLIN, "start": "30 2 * * *", "end": "0 5 * * *", "minReplicas": 3}

    assert at("2026-03-29T00:59", window).until == utc("2026-03-29T01:00"), "02:30 does not exist; 03:00 does"
    assert at("2026-03-29T01:00", window).bounds == ReplicaBounds(3, 10)
    assert at("2026-03-29T03:00", window).bounds == ReplicaBounds(1, 10)


def test_start_in_the_hour_that_comes_twice_counts_once() -> None:
    window = {**BERLIN, "start": "30 2 * * *", "durationSeconds": 1200, "minReplicas": 3}

    assert at("2026-10-25T00:30", window).bounds == ReplicaBounds(3, 10)
    assert at("2026-10-25T00:50", window).bounds == ReplicaBounds(1, 10)
    second = at("2026-10-25T01:30", window)
    assert second.bounds == ReplicaBounds(1, 10), "02:30 for the second time"
    assert second.until == utc("2026-10-26T01:30")


@pytest.mark.parametrize("moment", ["2026-10-25T00:45", "2026-10-25T01:10", "2026-10-25T01:45"])
def test_window_that_opened_in_the_first_of_two_hours_is_open_in_both(moment: str) -> None:
    window = {**BERLIN, "start": "30 2 * * *", "end": "0 5 * * *", "minReplicas": 3}

    assert at(moment, window).bounds == ReplicaBounds(3, 10)


def test_largest_minimum_of_the_open_windows_wins_as_a_whole() -> None:
    low = {"start": "0 8 * * *", "end": "0 20 * * *", "minReplicas": 2, "maxReplicas": 8}
    high = {"start": "0 12 * * *", "end": "0 14 * * *", "minReplicas": 3, "maxReplicas": 4}
    wide = {"start": "0 13 * * *", "end": "0 15 * * *", "minReplicas": 3, "maxReplicas": 6}

    assert at("2026-03-02T11:00", low, high, wide).bounds == ReplicaBounds(2, 8)
    assert at("2026-03-02T12:30", low, high, wide).bounds == ReplicaBounds(3, 4)
    assert at("2026-03-02T13:30", low, high, wide).bounds == ReplicaBounds(3, 6), "of equal ones the largest maximum"
    assert at("2026-03-02T14:30", wide, high, low).bounds == ReplicaBounds(3, 6), "the order does not matter"


def test_next_change_skips_starts_and_ends_that_change_nothing() -> None:
    long = {"start": "0 0 * * *", "end": "0 20 * * *", "minReplicas": 5}
    short = {"start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 2}

    found = at("2026-03-02T06:00", long, short)

    assert (found.until, found.following) == (utc("2026-03-02T20:00"), ReplicaBounds(1, 10))


def test_windows_that_follow_each_other_leave_no_gap() -> None:
    window = {"start": "0 8 * * *", "end": "0 8,20 * * *", "minReplicas": 2}

    assert at("2026-03-02T08:00", window).bounds == ReplicaBounds(2, 10), "a start counts more than an end"


def test_schedule_that_changes_nothing_is_looked_at_again_later() -> None:
    same = {"start": "0 * * * *", "durationSeconds": 60, "minReplicas": 1}

    found = at("2026-03-02T08:30", same)

    assert found.following is None
    assert found.until is not None
    assert found.until - utc("2026-03-02T08:30") > timedelta(hours=2)


def test_bounds_hold_until_the_next_change_and_not_before_they_were_computed() -> None:
    found = at("2026-03-02T06:00", OFFICE)

    assert found.holds_at(utc("2026-03-02T06:59:59"))
    assert not found.holds_at(utc("2026-03-02T07:00"))
    assert not found.holds_at(utc("2026-03-02T05:00")), "the clock was set back"


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"timeZone": "Mars/Olympus"}, "timeZone", "IANA"),
        ({"timeZone": "Europe"}, "timeZone", "IANA"),
        ({"start": "0 25 * * *"}, "start", "Bad hour"),
        ({"start": "0 8 * * MO"}, "start", "Bad day-of-week"),
        ({"end": "0 18 31 4,6 *"}, "end", "Bad day-of-month"),
        ({"end": "60 8 * * *"}, "end", "Bad minute"),
        ({"start": "0 0 * 2 MON#5"}, "start", "never comes"),
        ({"start": "0 * * * *", "end": "0 17 * * *"}, "end", "never closes"),
        ({"start": "0 8 * * *", "end": "0 08 * * 1-5"}, "end", "never closes"),
    ],
)
def test_unreadable_window_names_its_field(change: dict[str, Any], field: str, word: str) -> None:
    window = scaling({**OFFICE, **change}).schedule[0]

    with pytest.raises(ScheduleError, match=word) as caught:
        check_window(window, utc("2025-01-01T00:00"))
    assert caught.value.field == field


def test_window_may_close_at_some_of_its_starts() -> None:
    check_window(scaling({**OFFICE, "start": "0 8 * * *", "end": "0 8,17 * * *"}).schedule[0], utc("2025-01-01T00:00"))


def test_29th_of_february_is_no_never() -> None:
    check_window(scaling({**OFFICE, "start": "0 8 29 2 *"}).schedule[0], utc("2025-01-01T00:00"))


def test_bounds_at_any_time_complete_those_of_the_windows() -> None:
    given = scaling(OFFICE, {**NIGHT, "minReplicas": 0})

    assert list(all_bounds(given)) == [ReplicaBounds(1, 10), ReplicaBounds(4, 10), ReplicaBounds(0, 2)]
    assert may_sleep(given)
    assert not may_sleep(scaling(OFFICE))
