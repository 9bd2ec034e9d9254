"""The forms of `spec.model.uri`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.vllm.model_source import ResolvedModel, resolve_model

ROWS: list[tuple[str, dict[str, Any], ResolvedModel]] = [
    (
        "a GGUF file by its quantization",
        {"uri": "hf://org/name:Q4_K_M"},
        ResolvedModel("org/name:Q4_K_M", ("name:Q4_K_M",), downloads=True),
    ),
    (
        "a GGUF file by its name",
        {"uri": "hf://org/name/file.gguf"},
        ResolvedModel("org/name/file.gguf", ("file.gguf",), downloads=True),
    ),
    ("the hub", {"uri": "hf://org/name"}, ResolvedModel("org/name", ("name",), downloads=True)),
    ("the hub without a scheme", {"uri": "org/name"}, ResolvedModel("org/name", ("name",), downloads=True)),
    ("a directory of a claim", {"uri": "pvc://models/a/b"}, ResolvedModel("/model/a/b", ("b",), claim="models")),
    ("a whole claim", {"uri": "pvc://models"}, ResolvedModel("/model", ("models",), claim="models")),
    ("a slash at the end", {"uri": "pvc://models/a/"}, ResolvedModel("/model/a", ("a",), claim="models")),
    ("a path in the image", {"uri": "file:///srv/tiny"}, ResolvedModel("/srv/tiny", ("tiny",))),
    (
        "names of the spec",
        {"uri": "org/name", "servedNames": ["a", "b"]},
        ResolvedModel("org/name", ("a", "b"), downloads=True),
    ),
]


@pytest.mark.parametrize(("model", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_uri_is_resolved(model: dict[str, Any], expected: ResolvedModel) -> None:
    assert resolve_model(spec(model=model).model) == expected
