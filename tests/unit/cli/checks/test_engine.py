from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.helpers.check_subjects import subject
from tests.helpers.paths import REPOSITORY
from vllm_operator.cli.checks import engine

CPU = {"accelerator": {"resourceName": ""}}


@pytest.mark.parametrize(
    ("spec", "level"),
    [
        ({}, "pass"),
        ({"engine": {"gpuMemoryUtilization": 0.9}}, "pass"),
        ({"engine": {"gpuMemoryUtilization": 0.85}}, "pass"),
        ({"engine": {"gpuMemoryUtilization": 0.5}}, "warn"),
        ({"engine": {"gpuMemoryUtilization": 0.99}}, "warn"),
        ({"engine": {"extraArgs": ["--gpu-memory-utilization=0.99"]}}, "warn"),
        (CPU, "n/a"),
    ],
)
def test_memory(spec: dict[str, Any], level: str) -> None:
    assert engine.memory(subject(spec)).level == level


def test_default_of_memory_is_that_of_the_measured_releases() -> None:
    old, new = engine.DEFAULT_MEMORY
    for path in (REPOSITORY / "operator" / "vllm_operator" / "vllm" / "releases").glob("*.json"):
        number = tuple(map(int, path.stem.split(".")[:2]))
        flag = orjson.loads(path.read_bytes())["flags"]["--gpu-memory-utilization"]
        assert flag["default"] == (new if number >= (0, 20) else old)


@pytest.mark.parametrize(
    ("extra", "level"),
    [
        ({"enablePrefixCaching": True}, "pass"),
        ({}, "pass"),
        ({"enablePrefixCaching": False}, "warn"),
        ({"extraArgs": ["--no-enable-prefix-caching"]}, "warn"),
    ],
)
def test_prefix_caching(extra: dict[str, Any], level: str) -> None:
    assert engine.prefix_caching(subject({"engine": extra})).level == level


def test_context_length_is_to_be_decided() -> None:
    assert engine.context_length(subject({"engine": {"maxModelLen": 8192}})).level == "pass"
    assert engine.context_length(subject({"engine": {"extraArgs": ["--max-model-len=8192"]}})).level == "pass"
    unset = engine.context_length(subject({}, status={"capacity": {"maxModelLen": 131072}}))
    assert unset.level == "warn"
    assert "vLLM reports 131,072" in unset.evidence


def test_quantization_is_shown() -> None:
    assert "fp8" in engine.quantization(subject({"engine": {"quantization": "fp8"}})).evidence
    assert "unset" in engine.quantization(subject()).evidence


@pytest.mark.parametrize(
    ("spec", "nodes", "level"),
    [
        ({}, None, "pass"),
        ({"engine": {"tensorParallelSize": 4}}, 8, "pass"),
        ({"engine": {"tensorParallelSize": 8}}, 4, "fail"),
        ({"engine": {"tensorParallelSize": 2}, "accelerator": {"count": 4}}, None, "warn"),
        ({"engine": {"tensorParallelSize": 4}, "accelerator": {"count": 2}}, None, "warn"),
        (CPU, None, "n/a"),
    ],
)
def test_parallelism(spec: dict[str, Any], nodes: int | None, level: str) -> None:
    result = engine.parallelism(subject(spec, nodes=nodes))
    assert result.level == level
    assert bool(result.remedy) == (level in {"warn", "fail"})
