"""The weights and the KV cache of models that vLLM built itself (tests/data/sizing/built.yaml)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.helpers.paths import REPOSITORY
from tests.helpers.sizing import config
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import EngineOptions
from vllm_operator.sizing.estimate import estimate
from vllm_operator.sizing.gpus import cpu_device
from vllm_operator.sizing.model import parse_model
from vllm_operator.sizing.quantization import quantization_of
from vllm_operator.sizing.release import parse_release
from vllm_operator.sizing.units import GIB
from vllm_operator.sizing.weights import stage_weights

DEFAULTS = yaml.safe_load((REPOSITORY / "tests" / "data" / "sizing" / "families.yaml").read_text())["models"]
FAMILIES = [pytest.param(entry, id=entry["config"]["architectures"][0]) for entry in DEFAULTS]
RECORDED = yaml.safe_load((REPOSITORY / "tests" / "data" / "sizing" / "built.yaml").read_text())
MODELS = [pytest.param(entry, id="-".join(str(value) for value in entry.values())) for entry in RECORDED["models"]]

LATENT_COPIES = 0.002
"""Share of `W_UK_T` and `W_UV`, which vLLM adds after loading, so the recording lacks them."""

LATENT = {"DeepSeek-R1", "DeepSeek-V3.1-NVFP4", "Kimi-K2-Instruct"}


def unquantized(name: str) -> dict[str, Any]:
    document = config(name)
    for part in (document, document.get("text_config") or {}):
        part.pop("quantization_config", None)
    return document


def options(entry: dict[str, Any]) -> EngineOptions:
    return EngineOptions(
        parse_release(RECORDED["vllm"]),
        Division(entry["tensor"]),
        dtype="bfloat16",
        kv_cache_dtype=entry["kv_cache_dtype"],
        max_model_len=8192,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )


@pytest.mark.parametrize("entry", MODELS)
def test_weights_are_those_of_vllm(entry: dict[str, Any]) -> None:
    shape = parse_model(unquantized(entry["model"]))

    (own,) = stage_weights(shape, quantization_of("", shape.root, shape.config), options(entry).division, "bfloat16")

    assert own.total == pytest.approx(
        entry["bytes"], abs=9 << 20, rel=LATENT_COPIES if entry["model"] in LATENT else 1e-5
    )


@pytest.mark.parametrize("entry", MODELS)
def test_blocks_and_tokens_are_those_of_vllm(entry: dict[str, Any]) -> None:
    found = estimate(parse_model(unquantized(entry["model"])), options(entry), cpu_device(64))

    assert found.kv_cache == 64 * GIB
    assert (found.capacity.blocks, found.capacity.tokens) == (entry["blocks"], entry["tokens"])


@pytest.mark.parametrize("entry", FAMILIES)
def test_families_are_those_of_vllm(entry: dict[str, Any]) -> None:
    shape = parse_model(entry["config"])
    own = EngineOptions(
        parse_release("0.32.0"),
        dtype="bfloat16",
        max_model_len=entry["max_model_len"],
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )

    (weights,) = stage_weights(shape, quantization_of("", shape.root, shape.config), own.division, "bfloat16")
    found = estimate(shape, own, cpu_device(64))

    assert weights.total == pytest.approx(entry["bytes"], rel=0.006)
    assert (found.capacity.blocks, found.capacity.tokens) == (entry["blocks"], entry["tokens"])
