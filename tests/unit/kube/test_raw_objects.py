"""Lists and watch events are cut by structure, and an object that cannot be read hides no other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kube.test_json_scan import VALUES
from vllm_operator.api.names import UNREADABLE
from vllm_operator.kube.kinds import POD, SECRET, SERVER
from vllm_operator.kube.raw_objects import (
    MAX_COLONS,
    MAX_CONTAINERS,
    MAX_OBJECT_BYTES,
    MAX_SECRET_BYTES,
    MAX_SERVER_BYTES,
    cut_list,
    cut_watch_event,
    pack_in_steps,
    read_identity,
    read_object,
)

BUILT_IN = (
    b'{"type":"MODIFIED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","namespace":"llm",'
    b'"uid":"u1","resourceVersion":"41","ownerReferences":[{"uid":"u2"}]},"spec":{"ports":[]}}}'
)
CUSTOM = (
    b'{"type":"ADDED","object":{"apiVersion":"vllm-operator.dev/v1alpha1","kind":"VLLMServer","metadata":{"annotations":'
    b'{"last":"{\\"resourceVersion\\":\\"7\\"}"},"name":"a","resourceVersion":"42","uid":"u1"},'
    b'"spec":{"podTemplate":{"resourceVersion":"8"}}}}'
)
DISGUISED = (
    b'{"type":"ADDED","object":{"metadata":{"annotations":{"resourceVersion":"1234","type":"BOOKMARK"},'
    b'"labels":{"resourceVersion":"77"},"managedFields":[{"resourceVersion":"5"}],"name":"a","resourceVersion":"5678"}}}'
)
BOOKMARK = b'{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"43"}}}'
DEEPEST = 9_997
"""Levels of an object that the API server accepts (10,000) and that Python 3.13 decodes alone, but not in a list."""


def raw_object(spec: bytes = b"{}", name: str = "a", **metadata: Any) -> bytes:
    head = json.dumps({"name": name, "namespace": "llm", "uid": "u1", "resourceVersion": "7", **metadata})
    return b'{"metadata":' + head.encode() + b',"spec":' + spec + b',"status":{"phase":"Serving"}}'


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def listed(*items: bytes) -> bytes:
    return b'{"items":[' + b",".join(items) + b'],"metadata":{"resourceVersion":"9","continue":"c"}}'


@pytest.fixture(params=[1000, 60_000])
def recursion_limit(request: pytest.FixtureRequest) -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize(
    ("line", "event_type", "version"),
    [
        (BUILT_IN, "MODIFIED", "41"),
        (CUSTOM, "ADDED", "42"),
        (DISGUISED, "ADDED", "5678"),
        (BOOKMARK, "BOOKMARK", "43"),
        (b'{"type":"ERROR","object":{"code":410}}', "ERROR", ""),
        (b'{"type":"ERROR","object":{"metadata":{},"code":410}}', "ERROR", ""),
        (b'{"object":{"metadata":{"resourceVersion":"opaque"}},"type":"ADDED"}', "ADDED", "opaque"),
    ],
    ids=["built-in kind", "custom resource", "annotations", "bookmark", "error", "empty metadata", "other order"],
)
async def test_type_and_version_of_a_watch_event_come_from_its_structure(
    line: bytes, event_type: str, version: str
) -> None:
    event = await cut_watch_event(line)
    assert (event.type, event.version) == (event_type, version)


@given(st.dictionaries(st.sampled_from(["resourceVersion", "type", "object", "metadata", "name"]), VALUES, max_size=3))
async def test_nothing_in_an_object_changes_its_version(anything: dict[str, Any]) -> None:
    body = {"metadata": {"annotations": anything, "name": "a", "resourceVersion": "9", "z": anything}, "spec": anything}
    for value in ({"type": "ADDED", "object": body}, {"object": {"a": anything, **body}, "type": "ADDED"}):
        event = await cut_watch_event(json.dumps(value).encode())
        assert (event.type, event.version) == ("ADDED", "9")


@pytest.mark.parametrize("line", [b"", b"null", b"[]", b"{", b'"ADDED"', b"<html>"])
async def test_line_that_is_no_event_is_refused(line: bytes) -> None:
    try:
        event = await cut_watch_event(line)
    except ValueError:
        return
    assert event.version == ""


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=3))
async def test_items_of_a_list_are_those_of_the_parser(items: list[dict[str, Any]]) -> None:
    raw = json.dumps({"items": items, "metadata": {"resourceVersion": "9"}}).encode()
    page = await cut_list(raw)
    assert [json.loads(bytes(item)) for item in page.items] == items
    assert (page.version, page.continuation) == ("9", "")


@pytest.mark.parametrize("raw", [b'{"items":null}', b"{}", b'{"items":[]}'])
async def test_empty_list(raw: bytes) -> None:
    assert (await cut_list(raw)).items == []


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'{"items":', b"<html>"])
async def test_page_that_is_no_list_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        await cut_list(raw)


UNREADABLES = {
    "too deep": nested(DEEPEST),
    "deep and large": b"[" + nested(1500) + b",[]" * 10_000 + b"]",
    "invalid number": b'{"a":01}',
    "no number": b'{"a":NaN}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "invalid UTF-8": b'{"a":"\xff"}',
}


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("kind", UNREADABLES)
async def test_unreadable_item_of_a_list_is_a_stub_and_hides_no_other(kind: str) -> None:
    page = await cut_list(listed(raw_object(name="first"), raw_object(UNREADABLES[kind]), raw_object(name="last")))
    first, stub, last = [read_object(item, SERVER) for item in page.items]

    assert [body["metadata"]["name"] for body in (first, stub, last)] == ["first", "a", "last"]
    assert UNREADABLE not in first
    assert UNREADABLE not in last
    assert stub == {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": "VLLMServer",
        "metadata": {"name": "a", "namespace": "llm", "uid": "u1", "resourceVersion": "7"},
        "status": {"phase": "Serving"},
        UNREADABLE: stub[UNREADABLE],
    }


@pytest.mark.usefixtures("recursion_limit")
@pytest.mark.parametrize("kind", UNREADABLES)
async def test_unreadable_object_of_a_watch_event_is_a_stub(kind: str) -> None:
    event = await cut_watch_event(b'{"type":"DELETED","object":' + raw_object(UNREADABLES[kind]) + b"}")
    stub = read_object(event.object, POD)

    assert (event.type, event.version) == ("DELETED", "7")
    assert (stub["metadata"]["name"], UNREADABLE in stub) == ("a", True)


@pytest.mark.usefixtures("recursion_limit")
async def test_managed_fields_may_be_deep_too() -> None:
    deep = b'{"metadata":{"managedFields":[' + nested(DEEPEST - 3) + b'],"name":"a","resourceVersion":"7"},"spec":{}}'
    page = await cut_list(listed(deep, raw_object(name="last")))
    stub, last = [read_object(item, SERVER) for item in page.items]

    assert stub["metadata"] == {"name": "a", "resourceVersion": "7"}
    assert last["metadata"]["name"] == "last"


@pytest.mark.parametrize(
    ("kind", "limit"), [(SERVER, MAX_SERVER_BYTES), (POD, MAX_OBJECT_BYTES), (SECRET, MAX_SECRET_BYTES)]
)
def test_object_beyond_the_limit_is_a_stub_that_says_so(kind: Any, limit: int) -> None:
    room = limit - len(raw_object(b'""'))
    whole = read_object(raw_object(b'"' + b"x" * room + b'"'), kind)
    stub = read_object(raw_object(b'"' + b"x" * (room + 1) + b'"'), kind)

    assert UNREADABLE not in whole
    assert "spec" not in stub
    assert f"at most {limit // 1024} KiB" in stub[UNREADABLE]
    assert "make it smaller" in stub[UNREADABLE]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        (SERVER, b"[" + b"[]," * MAX_CONTAINERS + b"1]"),
        (POD, b"[" + b"{}," * MAX_CONTAINERS + b"1]"),
        (SECRET, b"{" + b",".join(b'"%d":""' % number for number in range(MAX_COLONS)) + b"}"),
    ],
    ids=["lists", "objects", "keys"],
)
def test_object_of_too_many_parts_is_a_stub_that_says_so(kind: Any, spec: bytes) -> None:
    stub = read_object(raw_object(spec), kind)
    assert "spec" not in stub
    assert "20,000 lists and objects, or 50,000 keys: make it smaller" in stub[UNREADABLE]


def test_large_parts_of_a_stub_are_left_out() -> None:
    labels = {f"example.com/{number}": "x" * 63 for number in range(5000)}
    stub = read_object(raw_object(labels=labels), SERVER)
    assert "labels" not in stub["metadata"]
    assert len(orjson.dumps(stub)) < 1000


def test_object_without_a_name_is_no_stub() -> None:
    with pytest.raises(ValueError, match="without a name"):
        read_object(b'{"spec":' + nested(2000) + b"}", POD)


@pytest.mark.parametrize("raw", [b"[]", b'"a"', b"1"])
def test_value_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        read_object(raw, POD)


def test_identity_is_read_without_the_rest() -> None:
    assert read_identity(raw_object(b'{"name":"other","uid":"u2"}')) == ("llm", "a", "u1", "7")
    assert read_identity(raw_object(b"{")) is None


async def test_one_object_of_a_list_is_parsed_at_a_time() -> None:
    alive, most = 0, 0

    class Body(dict[str, Any]):
        def __init__(self, raw: bytes) -> None:
            nonlocal alive, most
            super().__init__(orjson.loads(raw))
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    names = await pack_in_steps([raw_object(name=str(n)) for n in range(50)], lambda raw: Body(bytes(raw))["metadata"])
    assert (len(names), most <= 2) == (50, True)


@pytest.mark.parametrize(
    "text", ['{"a":' * 3000 + "1" + "}" * 3000, "[" * 3000 + "]" * 3000, '"' + "y" * 500_000 + '"']
)
def test_reason_of_a_stub_does_not_change_with_the_objects_size(text: str) -> None:
    reasons = {
        read_object(f'{{"metadata":{{"name":"a","managedFields":["{"x" * size}"]}},"spec":{text}}}'.encode(), SERVER)[
            UNREADABLE
        ]
        for size in (0, 1, 5000)
    }
    assert len(reasons) == 1
