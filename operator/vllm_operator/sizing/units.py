"""Units of memory, and the widths of data types."""

from __future__ import annotations

GIB = 1 << 30
"""Bytes of a GiB, as vLLM logs them."""

MIB = 1 << 20
"""Bytes of a MiB, as nvidia-smi counts them."""

DTYPE_BYTES: dict[str, int] = {
    "float32": 4,
    "float": 4,
    "bfloat16": 2,
    "float16": 2,
    "half": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int8": 1,
    "uint8": 1,
}
"""Bytes of one element, by the names that vLLM and config.json use for a data type."""


def divide_up(numerator: int, denominator: int) -> int:
    """Return the quotient, rounded up."""
    return -(-numerator // denominator)


def round_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is not less than the number."""
    return divide_up(number, multiple) * multiple
