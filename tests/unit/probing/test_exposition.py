"""Search `/metrics` for single families."""

from __future__ import annotations

import pytest

from tests.helpers.fake_vllm import RECORDED_METRICS
from vllm_operator.probing.exposition import (
    LINE_LIMIT,
    MAX_SERIES,
    VALUE_LIMIT,
    read_label,
    read_number,
    read_series,
)

RECORDED = RECORDED_METRICS.encode()


def test_recorded_series_have_their_labels_and_values() -> None:
    ((labels, value),) = read_series(RECORDED, b"vllm:num_requests_running")
    assert read_label(labels, b"engine") == b"0"
    assert read_number(value) == 0.0
    assert list(read_series(RECORDED, b"process_open_fds")) == [(b"", b"34.0")]


@pytest.mark.parametrize("body", [b'a{x="1"} 2', b'\na{x="1"} 2\n', b'# HELP a\na{x="1"} 2\nab 3'])
def test_series_is_found_at_the_start_in_the_middle_and_at_the_end(body: bytes) -> None:
    assert list(read_series(body, b"a")) == [(b'{x="1"}', b"2")]


def test_family_with_a_longer_name_is_another() -> None:
    assert list(read_series(b'\nab{x="1"} 2\n', b"a")) == []


def test_longest_recorded_line_is_well_below_the_limit() -> None:
    assert max(map(len, RECORDED.split(b"\n"))) * 3 < LINE_LIMIT


def test_line_beyond_the_limit_is_left_out() -> None:
    body = b'\na{x="' + b"y" * LINE_LIMIT + b'"} 1\na{x="z"} 2\n'
    assert list(read_series(body, b"a")) == [(b'{x="z"}', b"2")]


def test_number_of_series_is_limited() -> None:
    assert len(list(read_series(b'\na{x="1"} 1' * (MAX_SERIES + 9), b"a"))) == MAX_SERIES


def test_value_is_cut() -> None:
    assert [len(value) for _, value in read_series(b"\na " + b"1" * 1000 + b"\n", b"a")] == [VALUE_LIMIT]


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        (b'{a="1",b="2"}', b"1"),
        (b'{b="2",a="1"}', b"1"),
        (b'{b=",a=\\"3",a="1"}', b"1"),
        (b'{xa="2"}', None),
        (b'{a="', None),
        (b'{a="' + b"1" * 100 + b'"}', None),
        (b'{a=""}', b""),
        (b"", None),
    ],
)
def test_label_is_found_by_its_name(labels: bytes, value: bytes | None) -> None:
    assert read_label(labels, b"a") == value


@pytest.mark.parametrize("junk", [None, b"", b"None", b"1.2.3", b"\xff"])
def test_junk_is_no_number(junk: bytes | None) -> None:
    assert read_number(junk) is None
