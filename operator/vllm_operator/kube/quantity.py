"""Parse Kubernetes quantities into exact numbers (apimachinery `pkg/api/resource`)."""

from __future__ import annotations

import re
from decimal import Decimal

from vllm_operator.api.fields import QUANTITY_PATTERN

_SPLIT = re.compile(r"^([+-]?[0-9.]+)([a-zA-Z]*[+-]?[0-9]*)$")
_BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"], start=1)}
_DECIMAL = {
    unit: Decimal(1000) ** power for power, unit in enumerate(["n", "u", "m", "", "k", "M", "G", "T", "P", "E"], -3)
}
SUFFIXES = {**_BINARY, **_DECIMAL}


def parse_quantity(value: object) -> Decimal | None:
    """Return the number of a quantity such as `16Gi`, `500m`, `1e3` or `2`; None when it is invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value)
    if not re.fullmatch(QUANTITY_PATTERN, text):
        return None
    match = _SPLIT.fullmatch(text)
    if match is None:
        return None
    number, suffix = match.groups()
    if suffix in SUFFIXES:
        return Decimal(number) * SUFFIXES[suffix]
    return Decimal(number + suffix)
