"""Headers of safetensors files: the bytes of each tensor, by its data type. Pure: `sources.py` reads the files.

A file begins with the length of its header as 8 bytes, little-endian, then the header as JSON
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LENGTH_BYTES = 8

MAX_HEADER_BYTES = 100_000_000
"""Largest header, as the format bounds it."""

MAX_TENSORS = 1_000_000
"""Tensors of a checkpoint. The largest published ones have fewer than 200,000."""

_PACKED = {"U8", "I32", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "I8", "U16", "I16"}
"""Data types of quantized weights and their scales."""

_LAYER = re.compile(r"(?:^|\.)layers\.(\d{1,5})\.")

_NOT_LOADED = re.compile(r"(?:^|\.)(?:mtp|eagle)\.|rotary_emb\.inv_freq|\.masked_bias$")
"""Tensors that vLLM does not load with the model: draft layers, and constants."""


class HeaderError(ValueError):
    """A header that is none."""


@dataclass(frozen=True)
class HeaderBytes:
    """The bytes of a checkpoint.

    Attributes:
        by_dtype: bytes for each data type of the format, such as BF16.
        skipped: bytes of tensors that vLLM does not load.
    """

    by_dtype: Mapping[str, int]
    skipped: int

    @property
    def loaded(self) -> int:
        """Bytes of the tensors that vLLM loads."""
        return sum(self.by_dtype.values())

    @property
    def quantized(self) -> int:
        """Bytes of quantized weights."""
        return sum(size for dtype, size in self.by_dtype.items() if dtype in _PACKED)


def header_length(prefix: bytes) -> int:
    """Return the length of the header that the first 8 bytes name.

    Raises:
        HeaderError: the file is too short, or the length is beyond the bound.
    """
    if len(prefix) < LENGTH_BYTES:
        raise HeaderError("the file is shorter than 8 bytes, so it is no safetensors file")
    length = int.from_bytes(prefix[:LENGTH_BYTES], "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise HeaderError(f"the header is {length} bytes long; a safetensors file has at most {MAX_HEADER_BYTES}")
    return length


def header_bytes(headers: Iterable[bytes], layers: int) -> HeaderBytes:
    """Return the bytes of all tensors of a checkpoint.

    Args:
        headers: the header of each file.
        layers: layers of the model; tensors of later layers belong to a draft model and are skipped.

    Raises:
        HeaderError: a header is no JSON object of tensors, or there are too many.
    """
    by_dtype: dict[str, int] = {}
    skipped = number = 0
    for header in headers:
        for name, dtype, size in _tensors(header):
            number += 1
            if number > MAX_TENSORS:
                raise HeaderError(f"the checkpoint has more than {MAX_TENSORS} tensors")
            if _is_skipped(name, layers):
                skipped += size
            else:
                by_dtype[dtype] = by_dtype.get(dtype, 0) + size
    return HeaderBytes(by_dtype, skipped)


def _is_skipped(name: str, layers: int) -> bool:
    match = _LAYER.search(name)
    is_tower = "vision" in name or "visual" in name or "audio" in name
    return _NOT_LOADED.search(name) is not None or (match is not None and not is_tower and int(match[1]) >= layers)


def _tensors(header: bytes) -> Iterable[tuple[str, str, int]]:
    try:
        document = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise HeaderError("the header of a safetensors file is no JSON") from error
    if not isinstance(document, dict):
        raise HeaderError("the header of a safetensors file is no JSON object")
    for name, entry in document.items():
        if name == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_offset(value) for value in offsets):
            raise HeaderError(f"tensor {name[:100]!r} has no data_offsets")
        yield name, str(entry.get("dtype", ""))[:16], max(0, offsets[1] - offsets[0])


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48
