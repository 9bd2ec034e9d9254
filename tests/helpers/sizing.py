"""Models and options for the tests of sizing."""

from __future__ import annotations

import json
from typing import Any

from tests.helpers.paths import REPOSITORY
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import EngineOptions
from vllm_operator.sizing.estimate import Estimate, estimate
from vllm_operator.sizing.gpus import find_device
from vllm_operator.sizing.model import ModelShape, parse_model
from vllm_operator.sizing.release import parse_release

CONFIGS = REPOSITORY / "tests" / "data" / "sizing" / "configs"
"""A config.json of each architecture family."""


def config(name: str) -> dict[str, Any]:
    """Return a config.json of `tests/data/sizing/configs`."""
    document: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    return document


def model(name: str) -> ModelShape:
    """Return the shape of a model of `tests/data/sizing/configs`."""
    return parse_model(config(name))


def options(vllm: str = "0.19.0", tp: int = 1, pp: int = 1, *, experts: bool = False, **more: Any) -> EngineOptions:
    """Return the options of an engine."""
    return EngineOptions(parse_release(vllm), Division(tp, pp, 1, experts), **more)


def sized(name: str, gpu: str = "H100-80GB", vllm: str = "0.19.0", tp: int = 1, pp: int = 1, **more: Any) -> Estimate:
    """Return the estimate for a model of `tests/data/sizing/configs`."""
    return estimate(model(name), options(vllm, tp, pp, **more), find_device(gpu))
