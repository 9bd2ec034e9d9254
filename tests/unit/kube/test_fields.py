"""Test how fields are read that are missing or have another type, and how Kubernetes writes times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from vllm_operator.kube.fields import (
    format_timestamp,
    get,
    get_condition,
    get_int,
    get_list,
    get_map,
    get_str,
    parse_time,
    seconds_between,
    time_before,
)

POD = {
    "metadata": {"name": "a", "labels": {"team": "ml"}},
    "status": {"restarts": 2, "ready": True, "conditions": [{"type": "Ready", "status": "True"}, "broken"]},
}


def test_value_at_a_path() -> None:
    assert get(POD, "metadata", "labels", "team") == "ml"
    assert get(POD, "metadata", "name", "too deep") is None
    assert get(None, "metadata") is None


@pytest.mark.parametrize("path", [("metadata", "name", "x"), ("spec",), ("metadata", "labels"), ("status", "restarts")])
def test_string_is_empty_where_there_is_none(path: tuple[str, ...]) -> None:
    assert get_str(POD, *path) == ""


def test_integer_is_0_where_there_is_none() -> None:
    assert get_int(POD, "status", "restarts") == 2
    assert get_int(POD, "status", "ready") == 0
    assert get_int(POD, "metadata", "name") == 0


def test_object_is_empty_where_there_is_none() -> None:
    assert get_map(POD, "metadata", "labels") == {"team": "ml"}
    assert get_map(POD, "metadata", "name") == {}


def test_list_lacks_items_that_are_no_objects() -> None:
    assert get_list(POD, "status", "conditions") == [{"type": "Ready", "status": "True"}]
    assert get_list(POD, "metadata") == []


def test_condition_is_empty_where_there_is_none() -> None:
    assert get_condition(POD, "Ready") == {"type": "Ready", "status": "True"}
    assert get_condition(POD, "Failed") == {}


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 2, 8, 0, 0, 999, tzinfo=UTC),
        datetime(2026, 3, 2, 8, 0),
        datetime(2026, 3, 2, 10, 0, tzinfo=timezone(timedelta(hours=2))),
    ],
    ids=["UTC", "naive", "another zone"],
)
def test_time_is_written_in_utc_with_whole_seconds(moment: datetime) -> None:
    assert format_timestamp(moment) == "2026-03-02T08:00:00Z"


def test_time_without_zone_is_utc() -> None:
    assert parse_time("2026-03-02T08:00:00") == datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def test_invalid_timestamps() -> None:
    assert parse_time("yesterday") is None
    assert parse_time("0001-01-01T00:00:00+23:59") is None, "no time in UTC"
    assert seconds_between("2026-03-02T08:00:00Z", "later") is None
    assert time_before("yesterday", 5) == "yesterday"
    assert time_before("0001-01-01T00:00:00Z", 5) == "0001-01-01T00:00:00Z"


def test_seconds_between_two_timestamps() -> None:
    assert seconds_between("2026-03-02T08:00:00Z", "2026-03-02T08:01:00Z") == 60
    assert time_before("2026-03-02T08:01:00Z", 60) == "2026-03-02T08:00:00Z"
