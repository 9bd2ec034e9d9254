"""Cut lists and watch events into raw objects, and parse one object at a time, so that its size is known before.

A parsed object can take 25 times the memory of its JSON, which anybody who may create an object chooses. An object that
is too large or cannot be parsed becomes a stub: its metadata and status, without its spec, and the reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

from vllm_operator.api.names import UNREADABLE
from vllm_operator.kube.json_scan import scan_elements, scan_members
from vllm_operator.kube.kinds import SECRET, SERVER, Kind

KIB = 1024
MAX_SERVER_BYTES = 256 * KIB
"""Bytes of the JSON of a VLLMServer, with its managed fields. A real one has 2 to 20 KiB."""
MAX_OBJECT_BYTES = 384 * KIB
"""Bytes of the JSON of any other object: a Deployment repeats the `podTemplate` of its server, and has more fields."""
MAX_SECRET_BYTES = 3 * 1024 * KIB
"""Bytes of the JSON of a Secret: its values have up to 1 MiB, and a third more in base64. Secrets are not cached."""
MAX_CONTAINERS = 20_000
"""Brackets and braces of an object that open a list or an object, those in texts included. Each takes 56 to 232 bytes
and 1 µs to parse."""
MAX_COLONS = 50_000
"""Colons of an object: one for each key, and those in texts. Each key takes 100 bytes and 0.3 µs to parse."""
MAX_SECTION_BYTES = 64 * KIB
"""Bytes of one part of an object that its stub keeps, such as its status."""
THREAD_BYTES = 32 * KIB
"""Larger texts are cut in a thread: the scanner would hold the event loop for more than 10 ms."""

_LIMITS = {SERVER: MAX_SERVER_BYTES, SECRET: MAX_SECRET_BYTES}

TOO_MANY_PARTS = f"it has more than {MAX_CONTAINERS:,} lists and objects, or {MAX_COLONS:,} keys: make it smaller"

STUB_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "ownerReferences",
)
"""Metadata that a stub keeps: what identifies the object, its server and its owner."""

MAX_STEP_SECONDS = 0.01
"""Seconds for which the objects of a list are parsed before other tasks get a turn."""

Raw = bytes | msgspec.Raw
"""The JSON of one value."""
Packed = TypeVar("Packed")


class RawList(NamedTuple):
    """One page of a list.

    Attributes:
        items: its objects, unparsed.
        version: resource version of the whole list.
        continuation: token of the next page; empty on the last one.
    """

    items: list[Raw]
    version: str
    continuation: str


class RawWatchEvent(NamedTuple):
    """One watch event.

    Attributes:
        type: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.
        object: its object, unparsed.
        version: resource version of the object; empty for an ERROR.
    """

    type: str
    object: Raw
    version: str


class Identity(NamedTuple):
    """The identity and the version of an object."""

    namespace: str
    name: str
    uid: str
    version: str


class _CutEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _CutMetadata(msgspec.Struct):
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resourceVersion: str = ""


class _CutObject(msgspec.Struct):
    metadata: _CutMetadata


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_EVENT = msgspec.json.Decoder(_CutEvent)
_VERSIONED = msgspec.json.Decoder(_CutObject)
UNPARSABLE = "it cannot be parsed as JSON, or is nested too deeply: flatten it"
"""Reason of a stub. It does not quote the parser: its positions change with every write of the status."""
_DECODE_ERRORS = (msgspec.DecodeError, RecursionError)
"""Errors of msgspec: one invalid value anywhere in the text, or one that is nested too deeply for it."""


async def cut_list(raw: bytes) -> RawList:
    """Cut one page of a list into its objects.

    Raises:
        ValueError: the text is no list.
    """
    return _cut_list(raw) if len(raw) <= THREAD_BYTES else await asyncio.to_thread(_cut_list, raw)


async def cut_watch_event(line: bytes) -> RawWatchEvent:
    """Return type, raw object and resource version of a line of a watch.

    Raises:
        ValueError: the line is no watch event.
    """
    if len(line) <= THREAD_BYTES:
        return _cut_watch_event(line)
    return await asyncio.to_thread(_cut_watch_event, line)


async def pack_in_steps(items: Iterable[Raw], pack: Callable[[Raw], Packed | None]) -> list[Packed]:
    """Pack objects, with a turn for other tasks after each MAX_STEP_SECONDS.

    Args:
        items: the objects.
        pack: called with each; returns what to keep of it, None for nothing.
    """
    packed, started = list[Packed](), time.perf_counter()
    for item in items:
        if (result := pack(item)) is not None:
            packed.append(result)
        if time.perf_counter() - started > MAX_STEP_SECONDS:
            await asyncio.sleep(0)
            started = time.perf_counter()
    return packed


def read_object(raw: Raw, kind: Kind) -> dict[str, Any]:
    """Parse one object; return a stub where it is too large or cannot be parsed.

    Raises:
        ValueError: the text is no object with metadata.
    """
    size, limit = len(memoryview(raw)), _LIMITS.get(kind, MAX_OBJECT_BYTES)
    if size > limit:
        return _stub(raw, kind, too_large(limit))
    if size > MAX_CONTAINERS and _has_too_many_parts(bytes(raw)):
        return _stub(raw, kind, TOO_MANY_PARTS)
    try:
        body = orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError:
        return _stub(raw, kind, UNPARSABLE)
    if not isinstance(body, dict):
        raise ValueError("no JSON object")
    return body


def read_identity(raw: Raw) -> Identity | None:
    """Return identity and version of an object without parsing the rest; None where that needs the slow scanner."""
    try:
        metadata = _VERSIONED.decode(raw).metadata
    except _DECODE_ERRORS:
        return None
    return Identity(metadata.namespace, metadata.name, metadata.uid, metadata.resourceVersion)


def too_large(limit: int) -> str:
    """Return the reason of a stub for an object above this number of bytes; it does not quote the object's own size.

    The status carries it, and each write of a status changes the size: quoting it would cause the next write.
    """
    return (
        "its JSON, with the managed fields, is larger than the operator reads, which is "
        f"at most {limit // KIB} KiB: make it smaller"
    )


def members(raw: Raw) -> dict[str, Raw]:
    """Return the values of a JSON object by key, unparsed.

    Raises:
        ValueError: the text is no object.
    """
    try:
        return dict(_MEMBERS.decode(raw))
    except _DECODE_ERRORS:
        return {key.decode(errors="replace"): value for key, value in scan_members(bytes(raw))}


def _elements(raw: Raw) -> list[Raw]:
    try:
        return list(_ELEMENTS.decode(raw))
    except _DECODE_ERRORS:
        return list(scan_elements(bytes(raw)))


def _cut_list(raw: bytes) -> RawList:
    page = members(raw)
    metadata = {name: _parsed(value) for name, value in members(page.get("metadata", b"{}")).items()}
    items = page.get("items", b"[]")
    return RawList(
        [] if bytes(memoryview(items)[:4]) == b"null" else _elements(items),
        str(metadata.get("resourceVersion") or ""),
        str(metadata.get("continue") or ""),
    )


def _cut_watch_event(line: bytes) -> RawWatchEvent:
    try:
        event = _EVENT.decode(line)
        return RawWatchEvent(event.type, event.object, _VERSIONED.decode(event.object).metadata.resourceVersion)
    except _DECODE_ERRORS:
        parts = members(line)
        event_type, body = str(_parsed(parts.get("type", b'""'))), parts.get("object", b"{}")
        metadata = members(members(body).get("metadata", b"{}"))
        return RawWatchEvent(event_type, body, str(_parsed(metadata.get("resourceVersion", b'""'))))


def _has_too_many_parts(text: bytes) -> bool:
    return text.count(b"[") + text.count(b"{") > MAX_CONTAINERS or text.count(b":") > MAX_COLONS


def _stub(raw: Raw, kind: Kind, reason: str) -> dict[str, Any]:
    body = members(raw)
    metadata = members(body.get("metadata", b"{}"))
    kept = {name: value for name in STUB_METADATA if (value := _parsed(metadata.get(name, b"null"))) is not None}
    if "name" not in kept:
        raise ValueError("an object without a name")
    status = _parsed(body.get("status", b"null"))
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": kept,
        **({} if status is None else {"status": status}),
        UNREADABLE: reason,
    }


def _parsed(raw: Raw) -> Any:
    """Return a part of an object; None where it is too large or cannot be parsed."""
    if len(memoryview(raw)) > MAX_SECTION_BYTES:
        return None
    try:
        return orjson.loads(memoryview(raw))
    except orjson.JSONDecodeError:
        return None
