"""Test that objects come back unchanged from JSON, YAML and compressed bytes."""

from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.kube.codec import (
    COMPRESS_ABOVE_BYTES,
    compress_json,
    parse_compressed,
    parse_json,
    to_json,
    to_yaml_safe_json,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
OBJECTS = st.dictionaries(TEXTS, TEXTS | st.integers(-(2**53), 2**53) | st.lists(TEXTS, max_size=3), max_size=5)


@given(OBJECTS)
def test_object_comes_back_unchanged(value: dict[str, Any]) -> None:
    assert parse_json(to_json(value)) == value
    assert parse_compressed(compress_json(value)) == value


@pytest.mark.parametrize(
    "length",
    [
        0,
        1,
        COMPRESS_ABOVE_BYTES // 2,
        COMPRESS_ABOVE_BYTES - 9,
        COMPRESS_ABOVE_BYTES - 8,
        COMPRESS_ABOVE_BYTES - 7,
        20_000,
    ],
)
def test_objects_of_every_size_come_back_unchanged(length: int) -> None:
    value = {"key": "x" * length}

    assert parse_compressed(compress_json(value)) == value
    assert len(compress_json(value)) <= COMPRESS_ABOVE_BYTES


@given(OBJECTS)
def test_escapes_for_yaml_are_the_same_json(value: dict[str, Any]) -> None:
    assert json.loads(to_yaml_safe_json(value)) == value


@pytest.mark.parametrize("text", ["a\x85b", "a\u2028b", "a\u2029b", "\ufeffa", "\x7f", "\x9f", "\ufffe", "🦙 é\n"])
def test_yaml_reads_what_json_wrote(text: str) -> None:
    assert yaml.safe_load(to_yaml_safe_json({"value": text}).decode()) == {"value": text}


@pytest.mark.parametrize("depth", [300, 2000])
def test_deep_objects_come_back_unchanged(depth: int) -> None:
    text = '{"a":' * depth + "1" + "}" * depth

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert to_json(parse_json(text.encode())).replace(b" ", b"") == text.encode()
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"{", b"\xff"])
def test_json_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|line|codec|str is not valid"):
        parse_json(raw)


def test_short_text_takes_its_own_size() -> None:
    """orjson leaves the free end of its buffer with its result: 1,000 of them would take 4 MB."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [compress_json({"name": str(number)}) for number in range(1000)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200 * len(kept)
