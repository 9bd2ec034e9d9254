"""Metadata is judged as the API server judges it."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.offline.object_meta import metadata_refusals


def fields(metadata: Any) -> list[str]:
    return [one.field for one in metadata_refusals(metadata)]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        (None, "metadata"), ({}, "metadata.name"), ({"name": "A"}, "metadata.name"), ({"name": 1}, "metadata.name"),
        ({"name": "a" * 254}, "metadata.name"), ({"name": "a\n"}, "metadata.name"),
        ({"name": "a", "namespace": "a.b"}, "metadata.namespace"), ({"name": "a", "nam": "b"}, "metadata.nam"),
        ({"name": "a", "labels": {"a b": ""}}, "metadata.labels.a b"),
        ({"name": "a", "labels": {"a": "b c"}}, "metadata.labels.a"),
        ({"name": "a", "labels": {"a": 1}}, "metadata.labels"), ({"name": "a", "labels": []}, "metadata.labels"),
        ({"name": "a", "annotations": {"a/b/c": ""}}, "metadata.annotations.a/b/c"),
        ({"name": "a", "annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
    ],
)  # fmt: skip
def test_invalid_metadata_is_refused(metadata: Any, field: str) -> None:
    assert fields(metadata) == [field]


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "a.b-1"},
        {"generateName": "a-"},
        {"name": "a", "namespace": "b", "labels": {"x.io/a": "B"}, "annotations": {"x.io/A": "any text\n"}},
        {"name": "a", "labels": None},
    ],
)
def test_valid_metadata_is_accepted(metadata: Any) -> None:
    assert fields(metadata) == []
