"""YAML is read as kubectl reads it, and no file exhausts the process."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.offline.manifest_file import MOST_BYTES, UnreadableFileError, read_documents


def one(text: str) -> Any:
    (document,) = read_documents(text)
    return document.body


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("0x1f", 31), ("017", 15), ("1_000", 1000), ("1.5", 1.5), ("1e3", 1000.0),
        ("yes", True), ("Off", False), ("~", None), ("null", None), ('"1"', "1"), ("'on'", "on"), ("!!str 1", "1"),
        ("2024-01-01", "2024-01-01"), ("12:30:45", "12:30:45"), ("08", 8.0), ("v1", "v1"), ("|\n  a\n", "a\n"),
    ],
)  # fmt: skip
def test_scalar_has_the_value_that_kubectl_reads(text: str, value: Any) -> None:
    read = one(f"a: {text}")["a"]

    assert read == value
    assert type(read) is type(value)


def test_keys_become_texts() -> None:
    assert one("{1: a, true: b, null: c}") == {"1": "a", "true": "b", "null": "c"}


def test_aliases_and_merge_keys_are_followed() -> None:
    assert one("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: *x\nf: {<<: [*x, {g: 4}]}") == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 3},
        "e": {"b": 1, "c": 2},
        "f": {"b": 1, "c": 2, "g": 4},
    }


def test_quoted_merge_key_is_a_key() -> None:
    assert one('{"<<": {a: 1}}') == {"<<": {"a": 1}}


def test_repeated_keys_are_named() -> None:
    (document,) = read_documents("a: {b: 1, b: 2}")

    assert document.repeated == ["b"]


def test_documents_are_separate_and_empty_ones_are_left_out() -> None:
    assert [document.body for document in read_documents("a: 1\n---\n---\n# nothing\n---\nb: 2\n")] == [
        {"a": 1},
        {"b": 2},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 300_000,
        "{a: " * 300_000,
        "a: [",
        "*unknown",
        "a: .nan",
        "a: 1e999",
        "a: " + "9" * 5000,
        "? [a]\n: b",
        "{<<: 1}",
        "\x00",
        "a" * (MOST_BYTES + 1),
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)),
    ],
    ids=range(12),
)
def test_file_that_is_no_yaml_or_exceeds_a_bound_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFileError):
        read_documents(text)


def test_json_is_read_with_its_escapes_and_repeated_keys() -> None:
    (document,) = read_documents('{"a": "\\ud83e\\udd99", "b": {"c": 1, "c": 2}, "d": "\\/"}')

    assert document.body == {"a": "🦙", "b": {"c": 2}, "d": "/"}
    assert document.repeated == ["c"]
