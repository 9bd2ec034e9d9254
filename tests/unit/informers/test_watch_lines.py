"""The lines of a watch as a real API server sends them, read without parsing."""

from __future__ import annotations

import pytest

from vllm_operator.informers.watch_lines import state_version

BUILT_IN = (
    b'{"type":"MODIFIED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","namespace":"llm",'
    b'"uid":"u1","resourceVersion":"41","ownerReferences":[{"uid":"u2"}]},"spec":{"ports":[]}}}'
)
CUSTOM = (
    b'{"type":"ADDED","object":{"apiVersion":"vllm-operator.dev/v1alpha1","kind":"VLLMServer","metadata":{"annotations":'
    b'{"last":"{\\"resourceVersion\\":\\"7\\"}"},"name":"a","resourceVersion":"42","uid":"u1"},'
    b'"spec":{"podTemplate":{"resourceVersion":"8"}}}}'
)
BOOKMARK = b'{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"43"}}}'


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (BUILT_IN, "41"),
        (CUSTOM, "42"),
        (BUILT_IN.replace(b"MODIFIED", b"DELETED"), ""),
        (BOOKMARK, ""),
        (b'{"type":"ERROR","object":{"code":410}}', ""),
        (b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"opaque"}}}', ""),
        (b"", ""),
    ],
    ids=["built-in kind", "custom resource", "deletion", "bookmark", "error", "no number", "nothing"],
)
def test_version_is_the_one_of_the_object(line: bytes, version: str) -> None:
    assert state_version(line) == version
