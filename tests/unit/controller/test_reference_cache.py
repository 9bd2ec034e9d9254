"""Only the needed parts of an object are kept, and only so many of each namespace."""

from __future__ import annotations

import base64
from typing import Any

from tests.helpers.fakes import FakeApiClient, FakeClock
from vllm_operator.controller.reference_cache import LARGEST_KEY_BYTES, READS_PER_NAMESPACE, ReferenceCache


def cache(*bodies: dict[str, Any]) -> tuple[ReferenceCache, FakeApiClient]:
    api = FakeApiClient()
    for body in bodies:
        api.hold(body)
    return ReferenceCache(api, FakeClock()), api  # type: ignore[arg-type]


def secret(name: str, value: bytes) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name}, "data": {"key": base64.b64encode(value).decode()}}


async def test_value_too_long_for_a_header_is_not_kept() -> None:
    reads, _ = cache(secret("large", b"x" * LARGEST_KEY_BYTES))

    assert (await reads.secret("llm", "large", ["key"], ["key"])).values == {"key": ""}


async def test_reads_of_one_namespace_are_bounded_and_leave_those_of_others() -> None:
    reads, api = cache(secret("of-another", b"x"))
    await reads.secret("quiet", "of-another", ["key"])
    for number in range(READS_PER_NAMESPACE + 10):
        await reads.secret("busy", f"absent-{number}", ["key"])
    sent = len(api.requests)

    assert len(reads._reads["busy"]) == READS_PER_NAMESPACE
    await reads.secret("quiet", "of-another", ["key"])
    assert len(api.requests) == sent


async def test_labels_of_a_namespace_are_read_once() -> None:
    reads, api = cache({"kind": "Namespace", "metadata": {"name": "llm", "labels": {"a": "b"}}})

    assert [await reads.namespace_labels("llm"), await reads.namespace_labels("llm")] == [{"a": "b"}] * 2
    assert api.requests == [("get", "Namespace", "llm")]
