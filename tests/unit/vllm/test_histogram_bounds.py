"""The bounds of vLLM's histograms: as a real vLLM exports them, and as its flag sets them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.helpers.monitored_servers import server
from tests.helpers.paths import REPOSITORY
from vllm_operator.vllm.histogram_bounds import (
    BOUNDS_FLAG,
    DEFAULT_BOUNDS,
    FIRST_TOKEN,
    LATENCY,
    OUTPUT_TOKEN,
    histogram_bounds,
)
from vllm_operator.vllm.metric_series import MetricNames

RECORDING = REPOSITORY / "tests" / "data" / "vllm-0.32-metrics.txt"


@pytest.mark.parametrize(
    ("family", "metric"),
    [
        (LATENCY, MetricNames().latency),
        (FIRST_TOKEN, MetricNames().first_token),
        (OUTPUT_TOKEN, MetricNames().output_token),
        (OUTPUT_TOKEN, "vllm:inter_token_latency_seconds"),
    ],
)
def test_defaults_are_those_that_a_real_vllm_exports(family: str, metric: str) -> None:
    exported = re.findall(rf'^{metric}_bucket{{.*le="([0-9.]+)"', RECORDING.read_text(), re.MULTILINE)

    assert tuple(map(float, exported)) == DEFAULT_BOUNDS[family]


def bounds(*arguments: str, family: str = LATENCY, **spec: Any) -> tuple[float, ...] | None:
    """Return the bounds of a server with these arguments."""
    return histogram_bounds(server(engine={"extraArgs": list(arguments)}, **spec).spec, family)


def test_flag_replaces_the_bounds_of_its_families_only() -> None:
    custom = f"{BOUNDS_FLAG}={json.dumps({LATENCY: [1, 2.5, 3]})}"

    assert bounds(custom) == (1, 2.5, 3)
    assert bounds(custom, family=FIRST_TOKEN) == DEFAULT_BOUNDS[FIRST_TOKEN]


@pytest.mark.parametrize(
    "arguments",
    [
        (f"{BOUNDS_FLAG}.{LATENCY}=[1,2]",),
        (f"{BOUNDS_FLAG}={{}}", f"{BOUNDS_FLAG}={{}}"),
        (f"{BOUNDS_FLAG}=[1,2]",),
        (f"{BOUNDS_FLAG}={'[' * 16_000}",),
        (BOUNDS_FLAG,),
        (f'{BOUNDS_FLAG}={{"{LATENCY}": "1,2"}}',),
        (f'{BOUNDS_FLAG}={{"{LATENCY}": [true]}}',),
        ("--config", "/flags.yaml"),
    ],
)
def test_bounds_that_cannot_be_read_are_unknown(arguments: tuple[str, ...]) -> None:
    assert bounds(*arguments) is None
