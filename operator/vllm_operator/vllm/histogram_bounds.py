"""The bounds of vLLM's latency histograms, in seconds: all that Prometheus knows about a request lies between two."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import extra_flags

BOUNDS_FLAG = "--custom-histogram-buckets"
"""Flag of vLLM 0.32 and later that replaces the bounds of a family of histograms."""

LATENCY, FIRST_TOKEN, OUTPUT_TOKEN = "request_latency", "time_to_first_token", "inter_token_latency"
"""Families of histograms, as the flag names them (BUCKET_FAMILY_KEYS of vllm.v1.metrics.buckets)."""

DEFAULT_BOUNDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        LATENCY: (
            0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
        ),
        FIRST_TOKEN: (
            0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
            2560,
        ),
        OUTPUT_TOKEN: (
            0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
        ),
    }
)  # fmt: skip
"""Family -> bounds. They are the same in vLLM 0.9.2, 0.10.2, 0.11.2, 0.12.0, 0.14.1, 0.20.2 and 0.32.0."""

MOST_BOUNDS = 256
"""Bounds that are read from the flag; each costs a series for each engine, so nobody has more."""


def histogram_bounds(spec: Spec, family: str) -> tuple[float, ...] | None:
    """Return the bounds of a family, without infinity; None where the flag is written in a way that is not read.

    vLLM also takes parts of the flag (`--custom-histogram-buckets.request_latency=...`) and files with flags.
    """
    flags = extra_flags(spec)
    given = [flag for flag in flags if flag.name == BOUNDS_FLAG]
    if not given:
        return None if any(flag.name == "--config" for flag in flags) else DEFAULT_BOUNDS[family]
    custom = _as_object(given[-1].value)
    if len(given) > 1 or custom is None:
        return None
    return _as_bounds(custom[family]) if family in custom else DEFAULT_BOUNDS[family]


def _as_object(text: str | None) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _as_bounds(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_BOUNDS:
        return None
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in value):
        return None
    return tuple(value)
