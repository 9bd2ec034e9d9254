"""Parse vLLM's answers, whose bodies may hold anything."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

MAX_MODELS = 64
"""Names of `/v1/models` that are kept."""

METRICS_LIMIT = 4 * 1024 * 1024
"""Longest body of `/metrics` that is read, in bytes; vLLM 0.32 sends 50 KB for one engine."""

_NAME_LENGTH = 253
_VERSION = re.compile(r"[\w.+\-]{1,64}")
_CACHE_INFO = re.compile(rb"^vllm:cache_config_info\{(.*)\} ", re.MULTILINE)
_LABEL = re.compile(rb'(\w+)="((?:[^"\\]|\\.)*)"')


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
        names=tuple(dict.fromkeys(entry["id"][:_NAME_LENGTH] for entry in listed)),
        max_model_lens={name: length for name, length in lengths.items() if type(length) is int and length > 0},
    )


def parse_version(body: bytes) -> str | None:
    """Read `{"version": "0.32.0"}`; None for another body."""
    document = _json(body)
    version = document.get("version") if isinstance(document, dict) else None
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else None


def parse_capacity(body: bytes) -> ReplicaCapacity:
    """Read the labels of `vllm:cache_config_info`, one series for each engine of the replica.

    Older versions lack `kv_cache_size_tokens`: there it is `num_gpu_blocks` x `block_size`.
    """
    engines = [dict(_LABEL.findall(labels)) for labels in _CACHE_INFO.findall(body)]
    return ReplicaCapacity(
        kv_cache_tokens=_total([_tokens(labels) for labels in engines]),
        concurrency=_total([_whole(labels.get(b"kv_cache_max_concurrency")) for labels in engines]),
    )


def _tokens(labels: dict[bytes, bytes]) -> int | None:
    tokens = _whole(labels.get(b"kv_cache_size_tokens"))
    blocks, size = _whole(labels.get(b"num_gpu_blocks")), _whole(labels.get(b"block_size"))
    return tokens if tokens is not None else blocks * size if blocks and size else None


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _whole(label: bytes | None) -> int | None:
    """Read a whole number: `2048.0` -> 2048; None for any other value."""
    try:
        value = float(label or b"")
    except ValueError:
        return None
    return int(value) if math.isfinite(value) and 0 <= value < 2**53 else None


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        return None
