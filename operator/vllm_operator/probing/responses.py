"""Parse vLLM's answers, whose bodies may hold anything."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

import orjson

from vllm_operator.probing.exposition import read_label, read_number, read_series

MAX_MODELS = 64
"""Names of `/v1/models` that are kept."""

METRICS_LIMIT = 1024 * 1024
"""Longest body of `/metrics` that is read, in bytes. vLLM 0.32 sends 52 KB for one engine, and 32 KB for each further
one: there is room for 32 engines. A replica that sends more is probed as one without metrics."""

MODELS_LIMIT = 1024 * 1024
"""Longest body of `/v1/models` that is read, in bytes. vLLM sends 0.5 KB for each model or LoRA adapter."""

SMALL_LIMIT = 64 * 1024
"""Longest body of every other answer, in bytes: vLLM's have less than 100."""

_MAX_CONTAINERS = 12_288
"""Lists and objects in a JSON body, three for each of 4,096 models. A parser needs 0.5 µs for each of them."""

_MAX_COMMAS = 65_536
"""Commas in a JSON body, 16 for each of 4,096 models."""

MAX_NAME_LENGTH = 512
"""Longest name of `/v1/models` that is kept, in characters: `servedNames` allows 256. A longer one is compared with the
expected names and then dropped, since a part of a name is the name of nothing."""

_MAX_NUMBER = 2**63 - 1
"""Largest number that a status can hold; a larger one is junk."""

_VERSION = re.compile(r"[\w.+\-]{1,64}")
_CACHE_INFO = b"vllm:cache_config_info"
_SIZE = b"kv_cache_size_tokens"


@dataclass(frozen=True, slots=True)
class Models:
    """The listed names of `/v1/models`, and the longest context in tokens of each name that has one."""

    names: tuple[str, ...]
    max_model_lens: dict[str, int]


@dataclass(frozen=True, slots=True)
class ReplicaCapacity:
    """The KV cache over all engines of a replica, in tokens and in requests of the longest context that fit at once."""

    kv_cache_tokens: int | None = None
    concurrency: int | None = None


def parse_models(body: bytes) -> Models | None:
    """Read `{"object": "list", "data": [{"id": "...", "max_model_len": 8192}, ...]}`; None for another body."""
    document = _json(body)
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return None
    listed = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
    lengths = {entry["id"]: entry.get("max_model_len") for entry in listed}
    return Models(
        names=tuple(dict.fromkeys(entry["id"] for entry in listed)),
        max_model_lens={name: length for name, length in lengths.items() if _is_length(length)},
    )


def _is_length(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value <= _MAX_NUMBER


def parse_version(body: bytes) -> str | None:
    """Read `{"version": "0.32.0"}`; None for another body."""
    document = _json(body)
    version = document.get("version") if isinstance(document, dict) else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else None


def parse_flag(body: bytes, name: str) -> bool:
    """Read `{"is_paused": true}`; False for another body."""
    document = _json(body)
    return isinstance(document, dict) and document.get(name) is True


def parse_capacity(body: bytes) -> ReplicaCapacity:
    """Read the labels of `vllm:cache_config_info`, one series for each engine of the replica.

    A model without a KV cache, such as an encoder that embeds texts, has `kv_cache_size_tokens="None"`.
    """
    engines = [labels for labels, _ in read_series(body, _CACHE_INFO)]
    return ReplicaCapacity(
        kv_cache_tokens=_tokens(engines),
        concurrency=_total([_whole(labels, b"kv_cache_max_concurrency") for labels in engines]),
    )


def _tokens(engines: list[bytes]) -> int | None:
    """Return the tokens of all engines.

    Older versions lack `kv_cache_size_tokens`. There `num_gpu_blocks` is the sum of all engines, in each of the series.
    """
    if any(read_label(labels, _SIZE) is not None for labels in engines):
        return _total([_whole(labels, _SIZE) for labels in engines])
    blocks = [_whole(labels, b"num_gpu_blocks") for labels in engines]
    sizes = [_whole(labels, b"block_size") for labels in engines]
    products = [count * size for count, size in zip(blocks, sizes, strict=True) if count and size]
    return _total([max(products)]) if products else None


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    total = sum(known)
    return total if known and total <= _MAX_NUMBER else None


def _whole(labels: bytes, name: bytes) -> int | None:
    """Read a label that holds a whole number: `2048.0` -> 2048; None without it, for `None` and for junk."""
    value = read_number(read_label(labels, name))
    return int(value) if value is not None and math.isfinite(value) and 0 <= value < 2**53 else None


def _json(body: bytes) -> Any:
    """Parse a body; None for junk, and for one whose parts are too many to parse without holding up the event loop."""
    if body.count(b"{") + body.count(b"[") > _MAX_CONTAINERS or body.count(b",") > _MAX_COMMAS:
        return None
    try:
        return orjson.loads(body)
    except ValueError:
        return None
