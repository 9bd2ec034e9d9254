"""Find members and elements as the standard parser does, in any text and at any depth."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.kube.json_scan import scan_elements, scan_members

HOSTILE = st.text(st.sampled_from('"\\{}[],: \n\x00é🦙\u2028a'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | HOSTILE | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(HOSTILE, below, max_size=4),
    max_leaves=8,
)
FORMATS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(st.lists(VALUES, max_size=4), FORMATS)
def test_elements_are_those_of_the_parser(value: list[Any], layout: dict[str, Any]) -> None:
    raw = json.dumps(value, **layout).encode()
    assert [json.loads(element) for element in scan_elements(raw)] == value


@given(st.dictionaries(HOSTILE, VALUES, max_size=4), FORMATS)
def test_members_are_those_of_the_parser(value: dict[str, Any], layout: dict[str, Any]) -> None:
    raw = json.dumps(value, **layout).encode()
    found = {json.loads(b'"' + key + b'"'): json.loads(member) for key, member in scan_members(raw)}
    assert found == value


@given(st.dictionaries(HOSTILE, VALUES, min_size=1, max_size=3), st.data())
def test_text_that_was_cut_off_is_refused(value: dict[str, Any], data: st.DataObject) -> None:
    raw = json.dumps(value).encode()
    end = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(ValueError, match="JSON"):
        list(scan_members(raw[:end]))


@given(st.binary() | st.text(st.sampled_from('"\\{}[],: a')).map(str.encode))
def test_any_bytes_end_in_a_result_or_a_value_error(raw: bytes) -> None:
    for scan in (scan_members, scan_elements):
        try:
            list(scan(raw))
        except ValueError:
            pass


def test_depth_has_no_limit() -> None:
    deep = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
    assert list(scan_elements(b"[1," + deep + b"]")) == [b"1", deep]


PIECES = [b'"', b"\\", b'\\"', b"{", b"}", b"[", b"]", b"[],", b"{},", b'"",', b'"a":', b",", b":", b" ", b"a", b"\xff"]


@pytest.mark.parametrize("piece", PIECES, ids=repr)
@pytest.mark.parametrize("opener", [b"", b'"'], ids=["outside", "in a string"])
def test_time_is_linear(piece: bytes, opener: bytes) -> None:
    def seconds(count: int) -> float:
        raw, started = b"[" + opener + piece * count, time.process_time()
        try:
            list(scan_elements(raw))
        except ValueError:
            pass
        return time.process_time() - started

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(80_000) for _ in range(3)) < 12 * small + 0.05
